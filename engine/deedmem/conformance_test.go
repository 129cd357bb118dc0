package deedmem_test

import (
	"context"
	"crypto/rand"
	"testing"
	"testing/synctest"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedmem"
)

// harness is a store of its own.
func harness() drivertest.Harness {
	url := "mem:" + rand.Text()
	return drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := deedmem.Open(ctx, url, nil)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Freeze: func(c driver.Conn) { c.(*deedmem.Conn).Freeze() },
	}
}

func TestConformance(t *testing.T) { drivertest.Test(t, harness()) }

// TestConformanceVirtualTime shows that nothing in the engine waits but for what
// happens: leases and delays pass in no time, and a goroutine left over is a failure.
func TestConformanceVirtualTime(t *testing.T) {
	for _, c := range drivertest.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if reason := c.Test(t, harness()); reason != "" {
					t.Errorf("memory promises everything that is checked, but %s", reason)
				}
			})
		})
	}
}
