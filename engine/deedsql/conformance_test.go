package deedsql

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/sqldb"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "check.db")
	url := "sqlite:" + file
	db, err := sqldb.OpenSQLite(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() }, // renewals end, as in a stopped process

		Database: serviceDatabase(t, sqldb.SQLite(db)),
	})
}

// serviceDatabase is a service's connection to the engine's database.
func serviceDatabase(t *testing.T, db *sqldb.DB) *drivertest.Database {
	t.Cleanup(func() {
		db.Close()
		db.SQL().Close()
	})
	return &drivertest.Database{SQL: db.SQL(), Dialect: string(db.Dialect()), Tx: db.Tx}
}

// openService opens a database as a service does.
func openService(t *testing.T, driver, address string, wrap func(*sql.DB) *sqldb.DB) *drivertest.Database {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	return serviceDatabase(t, wrap(db))
}
