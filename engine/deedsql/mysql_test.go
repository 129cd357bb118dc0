package deedsql

import (
	"context"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/mariatest"
)

func TestMySQLConformance(t *testing.T) {
	url := mariatest.Open(t)
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() },
	})
}
