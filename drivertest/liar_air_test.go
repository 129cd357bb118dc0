package drivertest_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedmem"
)

// airLiar is an ephemeral engine that keeps its promises but for those calls that have
// a lie.
type airLiar struct {
	*deedmem.PubSub

	features  func(*driver.Features)
	publish   func([]driver.Batch) []driver.Batch
	receive   func(context.Context, driver.Subscription, driver.Fetch) (driver.Received, error)
	pattern   func(string) string
	subscribe func(driver.SubscribeSpec)
}

func (l *airLiar) Features() driver.Features {
	f := l.PubSub.Features()
	if l.features != nil {
		l.features(&f)
	}
	return f
}

func (l *airLiar) Publish(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
	if l.publish != nil {
		bs = l.publish(bs)
	}
	return l.PubSub.Publish(ctx, bs)
}

func (l *airLiar) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	sub, err := l.PubSub.Subscribe(ctx, spec)
	if l.subscribe != nil {
		l.subscribe(spec)
	}
	return l.lying(sub, err)
}

func (l *airLiar) SubscribePattern(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	asked := spec.Topic
	if l.pattern != nil {
		spec.Topic = l.pattern(asked)
	}
	sub, err := l.PubSub.SubscribePattern(ctx, spec)
	lying, err := l.lying(sub, err)
	if l.pattern != nil && err == nil {
		return claiming{lying, asked}, nil
	}
	return lying, err
}

func (l *airLiar) lying(sub driver.Subscription, err error) (driver.Subscription, error) {
	if err != nil {
		return nil, err
	}
	return &lyingSubscription{sub, &liar{receive: l.receive}}, nil
}

// claiming grants the pattern that was asked for.
type claiming struct {
	driver.Subscription
	topic string
}

func (c claiming) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	got, err := c.Subscription.Receive(ctx, f)
	for i := range got.Granted {
		got.Granted[i].Topic = c.topic
	}
	return got, err
}

// answered makes a receive whose answer is changed on its way out.
func (l *airLiar) answered(change func(*driver.Received)) {
	l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
		got, err := s.Receive(ctx, f)
		if err == nil {
			change(&got)
		}
		return got, err
	}
}

// said makes a publish that changes each message on its way in.
func (l *airLiar) said(change func(*driver.Message)) {
	l.publish = func(bs []driver.Batch) []driver.Batch {
		out := slices.Clone(bs)
		for i := range out {
			out[i].Messages = slices.Clone(out[i].Messages)
			for j := range out[i].Messages {
				change(&out[i].Messages[j])
			}
		}
		return out
	}
}

type airLie struct {
	name     string
	caughtBy string
	prepare  func(*airLiar, *counter)
}

var airLies = []airLie{
	{"loses an event in a hundred", "listeners-hear-all", func(l *airLiar, n *counter) {
		l.answered(func(r *driver.Received) {
			r.Deliveries = slices.DeleteFunc(r.Deliveries, func(driver.Delivery) bool { return n.next()%100 == 0 })
		})
	}},
	{"passes events on in no order", "listeners-hear-all", func(l *airLiar, _ *counter) {
		l.publish = func(bs []driver.Batch) []driver.Batch {
			for i := range bs {
				bs[i].Messages = slices.Clone(bs[i].Messages)
				slices.Reverse(bs[i].Messages)
			}
			return bs
		}
	}},
	{"sends events to all topics", "listeners-hear-all", func(l *airLiar, _ *counter) {
		l.publish = func(bs []driver.Batch) []driver.Batch {
			for _, b := range slices.Clone(bs) {
				for _, other := range slices.Clone(bs) {
					if b.Topic != other.Topic {
						bs = append(bs, driver.Batch{Topic: b.Topic, Messages: other.Messages})
					}
				}
			}
			return bs
		}
	}},
	{"forgets the time", "listeners-hear-all", func(l *airLiar, _ *counter) {
		l.said(func(m *driver.Message) { m.Time = m.Time.Truncate(1e9) })
	}},
	{"deals events out", "listeners-share-nothing", func(l *airLiar, n *counter) {
		l.answered(func(r *driver.Received) {
			if len(r.Deliveries) > 0 && n.next()%2 == 0 {
				r.Deliveries = nil
			}
		})
	}},
	{"keeps the last event for who comes late", "nothing-is-kept", func(l *airLiar, n *counter) {
		l.publish = func(bs []driver.Batch) []driver.Batch {
			n.note(bs[0].Topic, bs[0].Messages[0].ID)
			return bs
		}
		l.subscribe = func(s driver.SubscribeSpec) {
			if id := n.noteOf(s.Topic); id != "" {
				ms := []driver.Message{{ID: id}}
				_, _ = l.PubSub.Publish(context.Background(), []driver.Batch{{Topic: s.Topic, Messages: ms}})
			}
		}
	}},
	{"does not count what it drops", "unheard-is-counted", func(l *airLiar, _ *counter) {
		l.answered(func(r *driver.Received) { r.Missed.Events = 0 })
	}},
	{"returns more than was asked for", "listener-bounds", func(l *airLiar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			return s.Receive(ctx, driver.Fetch{Events: 1000, Bytes: 1 << 20})
		}
	}},
	{"cuts large data", "announced-large", func(l *airLiar, _ *counter) {
		l.said(func(m *driver.Message) { m.Data = m.Data[:min(len(m.Data), 1<<16)] })
	}},
	{"takes what exceeds its limit", "announced-large", func(l *airLiar, _ *counter) {
		l.features = func(f *driver.Features) { f.MaxEventBytes = 1 << 20 }
	}},
	{"answers after its end", "listener-closed", func(l *airLiar, _ *counter) {
		l.receive = func(ctx context.Context, s driver.Subscription, f driver.Fetch) (driver.Received, error) {
			got, err := s.Receive(ctx, f)
			return got, forgive(driver.ErrClosed)(err)
		}
	}},
	{"takes a dot for any character", "pattern-is-exact", func(l *airLiar, _ *counter) {
		l.pattern = func(p string) string { return strings.ReplaceAll(p, ".", "*") }
	}},
	{"does not say where an event comes from", "pattern-hears-what-matches", func(l *airLiar, _ *counter) {
		l.answered(func(r *driver.Received) {
			for i := range r.Deliveries {
				r.Deliveries[i].Topic = ""
			}
		})
	}},
	{"hears every topic", "pattern-hears-what-matches pattern-is-exact", func(l *airLiar, _ *counter) {
		l.pattern = func(string) string { return "*" }
	}},
	{"promises durability", "features-are-implemented", func(l *airLiar, _ *counter) {
		l.features = func(f *driver.Features) { f.Durability = driver.Process }
	}},
}

// runAir is run for an ephemeral engine.
func runAir(
	t *testing.T, checks []drivertest.Check, prepare func(*airLiar, *counter),
) map[string]drivertest.Result {
	t.Helper()
	results := make(map[string]drivertest.Result)
	synctest.Test(t, func(t *testing.T) {
		url, shared := "mem+pubsub:"+rand.Text(), &counter{}
		h := drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := deedmem.OpenPubSub(ctx, url)
			if err != nil {
				return nil, err
			}
			l := &airLiar{PubSub: c}
			prepare(l, shared)
			return l, nil
		}}
		for _, r := range drivertest.Run(t.Context(), h, checks, nil) {
			results[r.Check.Name] = r
		}
	})
	return results
}

func TestLiesOfEphemeralEnginesAreCaught(t *testing.T) {
	for _, lie := range airLies {
		t.Run(lie.name, func(t *testing.T) {
			for name, r := range runAir(t, named(t, lie.caughtBy), lie.prepare) {
				if r.Status != drivertest.Failed {
					t.Errorf("an engine that %s %s %s", lie.name, r.Status, name)
				}
			}
		})
	}
}
