package sqldb

import (
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// IsBusy reports whether err says that another writer was in the way: the same
// transaction may succeed when it is tried again.
func IsBusy(err error) bool {
	switch PostgresState(err) {
	case pgSerialize, pgDeadlock, pgLockTimeout:
		return true
	}
	switch MySQLNumber(err) {
	case mysqlDeadlock, mysqlLockWait, mysqlChanged:
		return true
	}
	switch primaryCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true
	}
	return mentions(err, "database is locked", "database table is locked")
}

// IsUnique reports whether err says that a row of that key exists.
func IsUnique(err error) bool {
	switch extendedCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return PostgresState(err) == pgUnique || MySQLNumber(err) == mysqlUnique || mentions(err, "UNIQUE constraint failed")
}

// IsFull reports whether err says that there is no space left.
func IsFull(err error) bool {
	switch MySQLNumber(err) {
	case mysqlDiskFull, mysqlTableFull:
		return true
	}
	return primaryCode(err) == sqlite3.SQLITE_FULL || PostgresState(err) == pgFull ||
		mentions(err, "database or disk is full")
}

// IsReadOnly reports whether err says that the database cannot be written.
func IsReadOnly(err error) bool {
	switch MySQLNumber(err) {
	case mysqlOption, mysqlReadOnlyTx, mysqlReadOnlyMode:
		return true
	}
	return primaryCode(err) == sqlite3.SQLITE_READONLY || PostgresState(err) == pgReadOnly ||
		mentions(err, "attempt to write a readonly database")
}

// IsTooBig reports whether err says that a value exceeds the database's limits.
func IsTooBig(err error) bool {
	return primaryCode(err) == sqlite3.SQLITE_TOOBIG || MySQLNumber(err) == mysqlPacket
}

// IsNoTable reports whether err says that a table does not exist.
func IsNoTable(err error) bool {
	state := PostgresState(err)
	return state == pgNoTable || state == pgNoSchema || MySQLNumber(err) == mysqlNoTable || mentions(err, "no such table")
}

func isNotDatabase(err error) bool { return primaryCode(err) == sqlite3.SQLITE_NOTADB }

func extendedCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func primaryCode(err error) int { return extendedCode(err) & 0xff }

// mentions recognises the errors of other SQLite drivers, which all carry
// SQLite's own text.
func mentions(err error, texts ...string) bool {
	if err == nil {
		return false
	}
	s := err.Error()
	for _, t := range texts {
		if strings.Contains(s, t) {
			return true
		}
	}
	return false
}
