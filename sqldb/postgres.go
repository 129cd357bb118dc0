package sqldb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"hash/fnv"
)

// Execer is a transaction that statements run in: a *sql.Tx, what wraps one (those of
// sqlx and bun, GORM's ConnPool), or [Pgx] of pgx's own.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Pgx makes a pgx.Tx an Execer.
func Pgx[Tag interface{ RowsAffected() int64 }](tx pgxTx[Tag]) Execer { return pgxExecer[Tag]{tx} }

// pgxTx is what matters here of a pgx.Tx, whose package is no requirement of this one.
type pgxTx[Tag interface{ RowsAffected() int64 }] interface {
	Exec(ctx context.Context, query string, args ...any) (Tag, error)
}

type pgxExecer[Tag interface{ RowsAffected() int64 }] struct{ tx pgxTx[Tag] }

func (p pgxExecer[Tag]) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := p.tx.Exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return sqldriver.RowsAffected(tag.RowsAffected()), nil
}

// Postgres returns a DB on an open Postgres database, of any database/sql driver.
// Tables are found by the connection's search_path.
func Postgres(db *sql.DB) *DB { return &DB{sql: db, dialect: DialectPostgres} }

// PostgresIn is Postgres with the tables of deed in a schema, which exists.
func PostgresIn(db *sql.DB, schema string) *DB {
	return &DB{sql: db, dialect: DialectPostgres, schema: schema}
}

// The states of Postgres that the engine and its transactions tell apart.
const (
	pgUnique      = "23505"
	pgFull        = "53100"
	pgReadOnly    = "25006"
	pgNoTable     = "42P01"
	pgNoSchema    = "3F000"
	pgSerialize   = "40001"
	pgDeadlock    = "40P01"
	pgLockTimeout = "55P03"
)

// PostgresState returns the SQLSTATE of an error of Postgres, of whichever driver, "" for
// any other error.
func PostgresState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// PostgresLock returns the number of an advisory lock that stands for names.
func PostgresLock(names ...string) int64 {
	h := fnv.New64a()
	for _, name := range names {
		h.Write([]byte(name))
		h.Write([]byte{0})
	}
	return int64(h.Sum64())
}

// PostgresScript is [Script] for Postgres, in one transaction, with the tables in a
// schema, which it makes; "" stands for what search_path says.
func PostgresScript(component string, ms []Migration, schema string) string {
	script := Script(component, ms)
	if schema != "" {
		script = "create schema if not exists " + QuoteName(schema) + ";\n" + Qualify(script, schema)
	}
	return "begin;\n" + script + "commit;\n"
}

// lockMigrations waits until no other process migrates a component of the database.
func lockMigrations(ctx context.Context, tx *sql.Tx, component string) error {
	_, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock($1)", PostgresLock("deed_schema", component))
	return err
}
