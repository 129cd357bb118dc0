package deedsql

import (
	"context"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/sqldb"
)

func TestPostgresConformance(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() },

		Database: openService(t, "pgx", url, sqldb.Postgres),
	})
}

// TestPostgresPooler runs the conformance through pgbouncer, which lends connections for
// a transaction: nothing may be left on one.
func TestPostgresPooler(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	url := pgtest.StartPooler(t, s, "default_pool_size = 8").URL(s.Database(t)) + "&pooler=transaction"
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() },
	})
}
