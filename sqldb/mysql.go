package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MySQL returns a DB on an open MySQL or MariaDB database.
func MySQL(db *sql.DB) *DB { return &DB{sql: db, dialect: DialectMySQL} }

// The errors of MySQL and MariaDB that the engine and its transactions tell apart.
const (
	mysqlChanged      = 1020 // a row has changed since it was read
	mysqlDiskFull     = 1021
	mysqlUnique       = 1062
	mysqlTableFull    = 1114
	mysqlNoTable      = 1146
	mysqlPacket       = 1153
	mysqlLockWait     = 1205
	mysqlDeadlock     = 1213
	mysqlOption       = 1290
	mysqlReadOnlyTx   = 1792
	mysqlReadOnlyMode = 1836
)

var mysqlError = regexp.MustCompile(`\bError (\d{4})(?: \(\w{5}\))?: `)

// MySQLNumber returns the number of an error of MySQL, 0 for any other error. It is read
// from the error's text, which is that of the usual driver.
func MySQLNumber(err error) int {
	if err == nil {
		return 0
	}
	found := mysqlError.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1]) // four digits
	return n
}

const (
	mysqlSchemaTable = `create table if not exists deed_schema (
	component varbinary(100) not null primary key,
	version   int            not null,
	applied   varchar(40)    not null
) engine = InnoDB row_format = dynamic`
	mysqlApplied = "insert into deed_schema (component, version, applied) values (?, ?, ?) " +
		"on duplicate key update version = values(version), applied = values(applied)"
	// mysqlMigrating is how many seconds a process waits for another to migrate.
	mysqlMigrating = 60
)

// migrateMySQL is Migrate where no transaction can undo the making of a table: each step
// is noted when it is done, and one that failed half way runs again, which its
// statements allow.
func (db *DB) migrateMySQL(ctx context.Context, component string, ms []Migration) error {
	if v, err := db.Version(ctx, component); err == nil && v > len(ms) {
		return fmt.Errorf("sqldb: migrate %s: %w", component, newerTables(v, ms)) // without the right to look further
	}
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqldb: migrate %s: %w", component, err)
	}
	defer conn.Close()
	if err := migrateOn(ctx, db, conn, component, ms); err != nil {
		return fmt.Errorf("sqldb: migrate %s: %w", component, err)
	}
	return nil
}

func migrateOn(ctx context.Context, db *DB, conn *sql.Conn, component string, ms []Migration) (err error) {
	const lock = "concat('deed_schema ', left(sha1(database()), 20))"
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, fmt.Sprintf("select get_lock(%s, %d)", lock, mysqlMigrating)).Scan(&got)
	if err != nil {
		return err
	}
	if got.Int64 != 1 {
		return fmt.Errorf("another process has been migrating for more than %ds", mysqlMigrating)
	}
	defer func() {
		_, unlocked := conn.ExecContext(context.WithoutCancel(ctx), "do release_lock("+lock+")")
		err = errors.Join(err, unlocked)
	}()
	if _, err := conn.ExecContext(ctx, mysqlSchemaTable); err != nil {
		return err
	}
	v, err := db.version(ctx, conn, component)
	if err != nil {
		return err
	}
	if v > len(ms) {
		return newerTables(v, ms)
	}
	for i, m := range ms[v:] {
		for _, statement := range statements(m.SQL) {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("step %d (%s): %w", v+i+1, m.Name, err)
			}
		}
		at := time.Now().UTC().Format(time.RFC3339)
		if _, err := conn.ExecContext(ctx, mysqlApplied, component, v+i+1, at); err != nil {
			return err
		}
	}
	return nil
}

// statements cuts a script, whose statements end with a semicolon at the end of a line.
func statements(script string) (all []string) {
	for s := range strings.SplitSeq(script, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// MySQLScript is Script for MySQL and MariaDB.
func MySQLScript(component string, ms []Migration) string {
	return strings.Replace(Script(component, ms), schemaTable, mysqlSchemaTable, 1)
}
