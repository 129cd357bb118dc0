package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Migration is one step of a component's tables: plain SQL, one or more
// statements, applied once. Steps are numbered by their place, from 1, and never
// change after a release.
type Migration struct {
	Name string
	SQL  string
}

const schemaTable = `create table if not exists deed_schema (
	component text not null primary key,
	version   integer not null,
	applied   text not null
)`

// Migrate brings a component's tables up to the last of ms, in one transaction.
// Processes that start together wait for each other. A database that is further
// than ms was written by a newer program, and is refused.
func (db *DB) Migrate(ctx context.Context, component string, ms []Migration) error {
	if v, err := db.version(ctx, db.sql, component); err == nil && v == len(ms) {
		return nil // the usual case takes no lock
	}
	if db.dialect == DialectMySQL {
		return db.migrateMySQL(ctx, component, ms)
	}
	err := db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if db.dialect == DialectPostgres {
			if err := lockMigrations(ctx, tx, component); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, db.Rebind(schemaTable)); err != nil {
			return err
		}
		v, err := db.version(ctx, tx, component)
		if err != nil {
			return err
		}
		if v > len(ms) {
			return newerTables(v, ms)
		}
		for i, m := range ms[v:] {
			if _, err := tx.ExecContext(ctx, db.Rebind(m.SQL)); err != nil {
				return fmt.Errorf("step %d (%s): %w", v+i+1, m.Name, err)
			}
		}
		_, err = tx.ExecContext(ctx, db.Rebind("insert into deed_schema (component, version, applied) "+
			"values (?, ?, ?) on conflict (component) do update set version = excluded.version, applied = excluded.applied"),
			component, len(ms), time.Now().UTC().Format(time.RFC3339))
		return err
	})
	if err != nil {
		return fmt.Errorf("sqldb: migrate %s: %w", component, err)
	}
	return nil
}

// newerTables is the error of tables that a newer program has made.
func newerTables(version int, ms []Migration) error {
	return fmt.Errorf("the tables have version %d, this program knows up to %d (run a newer program)", version, len(ms))
}

// Rebind says a query with "?" placeholders in the database's words, tables of deed in
// their schema.
func (db *DB) Rebind(query string) string {
	if db.schema != "" {
		return Qualify(query, db.schema)
	}
	return db.dialect.Rebind(query)
}

// Version returns how many steps of a component the tables have. The error is one of
// IsNoTable when there are none.
func (db *DB) Version(ctx context.Context, component string) (int, error) {
	return db.version(ctx, db.sql, component)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (db *DB) version(ctx context.Context, q querier, component string) (int, error) {
	var v int
	err := q.QueryRowContext(ctx, db.Rebind("select version from deed_schema where component = ?"), component).
		Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return v, err
}

// Script returns the steps of a component's tables as one script of the dialect, for
// those who create tables by hand.
func (d Dialect) Script(component string, ms []Migration) string {
	switch d {
	case DialectPostgres:
		return PostgresScript(component, ms, "")
	case DialectMySQL:
		return MySQLScript(component, ms)
	}
	return Script(component, ms)
}

// Script returns ms as one SQL script, bookkeeping included, for those who create
// tables by hand: Migrate then finds nothing left to do.
func Script(component string, ms []Migration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s;\n", schemaTable)
	for i, m := range ms {
		fmt.Fprintf(&b, "\n-- %s %d: %s\n%s;\n", component, i+1, m.Name, strings.TrimRight(strings.TrimSpace(m.SQL), ";"))
	}
	fmt.Fprintf(&b, "\ninsert into deed_schema (component, version, applied) values ('%s', %d, '%s');\n",
		component, len(ms), "by hand")
	return b.String()
}
