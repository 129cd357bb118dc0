package deedkafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedmem"
)

// cluster starts kfake, a Kafka in Go: what passes here is tested on kfake.
func cluster(t *testing.T, opts ...kfake.Opt) (url string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return "kafka://" + c.ListenAddrs()[0]
}

func TestConformance(t *testing.T) {
	url := cluster(t)
	drivertest.Test(t, drivertest.Harness{
		Open:   func(ctx context.Context) (driver.Conn, error) { return Open(ctx, url, nil) },
		Freeze: func(c driver.Conn) { c.(*Conn).freeze() },
	})
}

// TestConformanceWithState checks the engine with a second one for the claims, the side
// log and the records.
func TestConformanceWithState(t *testing.T) {
	url := cluster(t)
	drivertest.Test(t, drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) {
			log, err := Open(ctx, url, nil)
			if err != nil {
				return nil, err
			}
			s, err := deedmem.Open(ctx, "mem:"+t.Name(), nil)
			if err != nil {
				return nil, errors.Join(err, log.Close())
			}
			return driverkit.WithState(log, s)
		},
	})
}

// freeze makes the connection's members silent, as those of a stopped process are.
func (c *Conn) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.subs {
		s.ice.Store(true)
	}
}
