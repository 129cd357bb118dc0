package deedtest

import (
	"context"
	"sync"

	"github.com/deedgo/deed/driver"
)

// reading is a group on one of its topics.
type reading struct{ group, topic string }

// conn is the engine as the bus sees it: it knows which groups run, and hands events
// out twice if that is asked for.
type conn struct {
	driver.Conn
	twice bool

	mu   sync.Mutex
	open map[reading]int // subscriptions that are not closed
}

// Unwrap lets driver.As find what else the engine can do.
func (c *conn) Unwrap() driver.Conn { return c.Conn }

// Subscribe implements driver.Conn.
func (c *conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	inner, err := c.Conn.Subscribe(ctx, spec)
	if err != nil {
		return nil, err
	}
	if c.twice {
		inner = &again{Subscription: inner, parts: make(map[int]*part)}
	}
	of := reading{spec.Group, spec.Topic}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[of]++
	return &member{Subscription: inner, left: sync.OnceFunc(func() { c.closed(of) })}, nil
}

func (c *conn) closed(of reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[of]--
}

// runs reports whether a group reads a topic by this connection. An engine may seat
// a member a moment after it has subscribed, so asking the engine is not enough.
func (c *conn) runs(of reading) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[of] > 0
}

// joinedKey is where a Run's context carries the function to call when its
// subscription has joined on all topics.
type joinedKey struct{}

// member is a subscription that tells when it begins and ends.
type member struct {
	driver.Subscription
	left func()
	told bool
}

// Receive implements driver.Subscription. A group receives when it has subscribed to
// all of its topics.
func (m *member) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	if !m.told {
		m.told = true
		if joined, ok := ctx.Value(joinedKey{}).(func()); ok {
			joined()
		}
	}
	return m.Subscription.Receive(ctx, f)
}

// Close implements driver.Subscription.
func (m *member) Close() error {
	defer m.left()
	return m.Subscription.Close()
}
