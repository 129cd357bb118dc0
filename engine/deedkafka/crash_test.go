package deedkafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedkafka"
	"github.com/deedgo/deed/internal/kafkatest"
)

func open(t *testing.T, url string) *deedkafka.Conn {
	t.Helper()
	c, err := deedkafka.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func topicOf(t *testing.T, c *deedkafka.Conn, name string, partitions int) driver.TopicInfo {
	t.Helper()
	info, err := c.CreateTopic(t.Context(), name, driver.TopicSettings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func event(n int) driver.Message {
	return driver.Message{
		ID: fmt.Sprint(n), Source: "/test", Type: "orders.created", Version: 1, Key: "k",
		Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// one is a batch of one event.
func one(info driver.TopicInfo, m driver.Message) []driver.Batch {
	return []driver.Batch{{Topic: info.Name, Generation: info.Generation, Messages: []driver.Message{m}}}
}

// A broker that is killed again and again loses nothing of what it acknowledged, and a
// group goes on where it was. Tested on kfake, which syncs each write here.
func TestBrokerKilled(t *testing.T) {
	s := kafkatest.Start(t)
	c := open(t, s.URL())
	info := topicOf(t, c, "orders", 1)
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	const rounds, each = 3, 20
	accepted, seen := make(map[string]bool), make(map[string]bool)
	g := &reading{t: t, sub: sub, seen: seen}
	n := 0
	for range rounds {
		for range each {
			n++
			rs, err := c.Publish(t.Context(), one(info, event(n)))
			if err == nil && rs[0].Err == nil {
				accepted[fmt.Sprint(n)] = true
			}
		}
		g.until(func() bool { return len(seen) > 0 })
		s.Kill()
		s.Restart()
	}
	g.until(func() bool {
		for id := range accepted {
			if !seen[id] {
				return false
			}
		}
		return true
	})
	if len(accepted) < rounds*each/2 {
		t.Errorf("only %d of %d events were accepted", len(accepted), rounds*each)
	}
}

// reading receives and settles.
type reading struct {
	t      *testing.T
	sub    driver.Subscription
	claims map[int]driver.Claim
	seen   map[string]bool
}

func (g *reading) until(done func() bool) {
	g.t.Helper()
	if g.claims == nil {
		g.claims = make(map[int]driver.Claim)
	}
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			g.t.Fatalf("not within a minute; seen %d", len(g.seen))
		}
		ctx, cancel := context.WithTimeout(g.t.Context(), 200*time.Millisecond)
		got, err := g.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		cancel()
		if err != nil {
			continue
		}
		for _, p := range got.Lost {
			delete(g.claims, p)
		}
		for _, cl := range got.Granted {
			g.claims[cl.Partition] = cl
		}
		for _, d := range got.Deliveries {
			g.seen[d.ID] = true
			ctx, cancel := context.WithTimeout(g.t.Context(), 5*time.Second)
			// An error leaves the position; the event comes again.
			_, _ = g.sub.Settle(ctx, []driver.Settlement{
				{Partition: d.Partition, Epoch: g.claims[d.Partition].Epoch, Position: d.Position},
			})
			cancel()
		}
	}
}
