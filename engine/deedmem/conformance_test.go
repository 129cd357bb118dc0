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

// airHarness is an ephemeral engine of its own.
func airHarness() drivertest.Harness {
	url := "mem+pubsub:" + rand.Text()
	return drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
		c, err := deedmem.OpenPubSub(ctx, url)
		if err != nil {
			return nil, err
		}
		return c, nil
	}}
}

func TestConformance(t *testing.T) { drivertest.Test(t, harness()) }

func TestConformancePubSub(t *testing.T) { drivertest.Test(t, airHarness()) }

// TestConformanceVirtualTime shows that nothing in the engines waits but for what
// happens: leases and delays pass in no time, and a goroutine left over is a failure.
func TestConformanceVirtualTime(t *testing.T) {
	for _, c := range drivertest.Checks() {
		if c.Joint {
			continue // memory is no service's database
		}
		if c.Name == "no-backlog-no-pretence" {
			continue // memory has what was there before a group
		}
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stores, passes := c.Test(t, harness()), c.Test(t, airHarness())
				if stores != "" && passes != "" {
					t.Errorf("memory promises everything else that is checked, but %s and %s", stores, passes)
				}
			})
		})
	}
}
