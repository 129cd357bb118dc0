package deedredis

import (
	"context"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/redistest"
)

func harness(url string) drivertest.Harness {
	return drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).Freeze() },
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync everysec")
	drivertest.Test(t, harness(s.URL()))
}

func TestConformanceOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, "appendonly yes", "appendfsync everysec")
	drivertest.Test(t, harness(c.URL()))
}
