// Package testdb runs tests on a database of each kind that deed keeps a service's
// outbox and inbox in: a SQLite file, and real Postgres and MariaDB servers.
package testdb

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/sqldb"
)

// Kind is a kind of database, with a server where it has one.
type Kind struct {
	Dialect sqldb.Dialect
	create  func(t testing.TB) Database
}

// SQLite is the kind that needs no server.
var SQLite = Kind{sqldb.DialectSQLite, newSQLite}

// Database is an empty database of a test.
type Database struct {
	URL  string // for an engine that is to live in it
	open func() (*sqldb.DB, error)
}

// New makes an empty database.
func (k Kind) New(t testing.TB) Database {
	t.Helper()
	return k.create(t)
}

// Open opens the database as another process would.
func (d Database) Open(t testing.TB) *sqldb.DB {
	t.Helper()
	db, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		db.Close()
		db.SQL().Close()
	})
	return db
}

// Each runs test as a subtest for each kind.
func Each(t *testing.T, test func(t *testing.T, k Kind)) {
	t.Run("SQLite", func(t *testing.T) { test(t, SQLite) })
	t.Run("Postgres", func(t *testing.T) {
		s := pgtest.Start(t)
		test(t, Kind{sqldb.DialectPostgres, func(t testing.TB) Database {
			return Postgres(s.URL(s.Database(t)))
		}})
	})
	t.Run("MariaDB", func(t *testing.T) {
		s := mariatest.Start(t)
		test(t, Kind{sqldb.DialectMySQL, func(t testing.TB) Database {
			name := s.Database(t)
			dsn := s.DSN(name)
			return Database{s.URL(name), func() (*sqldb.DB, error) { return openWith("mysql", dsn, sqldb.MySQL) }}
		}})
	})
}

func newSQLite(t testing.TB) Database { return File(filepath.Join(t.TempDir(), "service.db")) }

// File is the SQLite database of a file.
func File(path string) Database {
	return Database{"sqlite:" + path, func() (*sqldb.DB, error) {
		db, err := sqldb.OpenSQLite(path, nil)
		if err != nil {
			return nil, err
		}
		return sqldb.SQLite(db), nil
	}}
}

// Postgres is the database of a URL.
func Postgres(url string) Database {
	return Database{url, func() (*sqldb.DB, error) { return openWith("pgx", url, sqldb.Postgres) }}
}

func openWith(driver, address string, wrap func(*sql.DB) *sqldb.DB) (*sqldb.DB, error) {
	db, err := sql.Open(driver, address)
	if err != nil {
		return nil, err
	}
	return wrap(db), nil
}
