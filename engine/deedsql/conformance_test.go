package deedsql

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
)

func TestConformance(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "check.db")
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() }, // renewals end, as in a stopped process
	})
}
