package deedredis

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/redistest"
)

// packing makes every topic one that packs, where that is possible.
type packing struct{ *Conn }

func (c packing) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	s.Pack = s.Dedupe == 0 && !s.Streams
	return c.Conn.CreateTopic(ctx, name, s)
}

func (c packing) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	t, err := c.lookup(ctx, name)
	if err == nil {
		s.Pack = t.info.Pack && s.Dedupe == 0
	}
	return c.Conn.SetTopic(ctx, name, s)
}

// byEntry are the checks that count on single events going: of a pack all go at once.
var byEntry = []string{
	"topic-settings", "topic-set", "keep-removes-nothing-younger", "keep-waits-for-groups", "keep-leaves-the-last",
	"hold-drops-and-counts", "hold-spares-parked", "topic-bytes",
}

// What is promised of single entries holds for packed ones.
func TestConformancePacked(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t, "appendonly yes").URL()
	h := drivertest.Harness{
		Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := Open(ctx, url, nil)
			return packing{c}, err
		},
		Freeze: func(c driver.Conn) { c.(packing).Freeze() },
	}
	for _, c := range drivertest.Checks() {
		if slices.Contains(byEntry, c.Name) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if reason := c.Test(t, h); reason != "" {
				t.Skipf("not promised: %s", reason)
			}
		})
	}
}

// A pack goes when all of it is handled and old, and what it held is counted.
func TestPackRetention(t *testing.T) {
	ctx := t.Context()
	c, err := Open(ctx, redistest.Start(t).URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.CreateTopic(ctx, "orders", driver.TopicSettings{Partitions: 1, Keep: time.Millisecond, Pack: true})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(ctx, driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for pack := range 3 {
		ms := make([]driver.Message, 5)
		for i := range ms {
			ms[i] = driver.Message{ID: fmt.Sprint(pack, i), Source: "/s", Type: "t", Version: 1, Data: []byte("12345")}
		}
		rs, err := c.Publish(ctx, []driver.Batch{{Topic: "orders", Generation: info.Generation, Messages: ms}})
		if err != nil || rs[0].Err != nil || rs[0].Stored != 5 {
			t.Fatalf("publish: %+v, %v", rs, err)
		}
	}
	var claim driver.Claim
	var got []driver.Delivery
	for len(got) < 15 {
		r, err := sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Granted) > 0 {
			claim = r.Granted[0]
		}
		got = append(got, r.Deliveries...)
	}
	for _, step := range []struct {
		handled int
		left    int64
	}{{3, 15}, {5, 10}, {9, 10}, {15, 5}} {
		_, err := sub.Settle(ctx, []driver.Settlement{{Epoch: claim.Epoch, Position: got[step.handled-1].Position}})
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; {
			if _, err := c.Sweep(ctx, "orders"); err != nil {
				t.Fatal(err)
			}
			info, err := c.Topic(ctx, "orders")
			lag, lagErr := c.Lag(ctx, "g", "orders")
			if err != nil || lagErr != nil {
				t.Fatal(err, lagErr)
			}
			if info.Events == step.left && info.Bytes == 5*step.left && lag[0].Events == int64(15-step.handled) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d handled: %d events of %d bytes are left, %d behind; want %d",
					step.handled, info.Events, info.Bytes, lag[0].Events, step.left)
			}
		}
	}
}
