package deedsql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/deedgo/deed/sqldb"
)

// Whether two handles are of one database is asked of the database itself: names and
// addresses can differ for one server, and be the same for two. On a server a lock under
// a random name tells: who finds it held is where it is held.

// hosts implements [dialect].
func (d *sqliteDialect) hosts(ctx context.Context, db *sql.DB) (bool, error) {
	file, err := sqldb.SQLite(db).File(ctx)
	if err != nil || file == "" {
		return false, err
	}
	other, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	own, err := os.Stat(d.path)
	return err == nil && os.SameFile(own, other), err
}

// hosts implements [dialect]. An advisory lock is of one database. Both sides ask within a
// transaction, which a pooler lends one server process for.
func (d *postgresDialect) hosts(ctx context.Context, db *sql.DB) (bool, error) {
	own, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer own.Rollback() //nolint:errcheck // it only holds the lock
	number := int64(randomNumber())
	if _, err := own.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", number); err != nil {
		return false, err
	}
	other, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer other.Rollback() //nolint:errcheck // it only asks
	var free bool
	if err := other.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", number).Scan(&free); err != nil {
		return false, err
	}
	return !free, own.Commit() // the lock was held until now
}

// hosts implements [dialect]. A named lock is of the whole server, so that the names of
// the databases are compared as well.
func (d *mysqlDialect) hosts(ctx context.Context, db *sql.DB) (same bool, err error) {
	own, err := d.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer own.Close()
	name := fmt.Sprintf("deed %016x", randomNumber())
	var got, held, still sql.NullBool
	var here, there sql.NullString
	err = own.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0), DATABASE()", name).Scan(&got, &here)
	if err != nil || !got.Bool {
		return false, err
	}
	err = db.QueryRowContext(ctx, "SELECT NOT IS_FREE_LOCK(?), DATABASE()", name).Scan(&held, &there)
	if err != nil {
		return false, err
	}
	if err := own.QueryRowContext(ctx, "SELECT RELEASE_LOCK(?)", name).Scan(&still); err != nil {
		return false, err
	}
	if !still.Bool {
		return false, fmt.Errorf("%s: the server gave a lock up that was held", d.where)
	}
	return held.Bool && here.Valid && here == there, nil
}

func randomNumber() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
