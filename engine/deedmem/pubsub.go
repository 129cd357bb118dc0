package deedmem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// PubSub is the ephemeral engine in memory: what is published goes to whoever listens
// in this process, and is gone. Its methods are safe for concurrent use.
type PubSub struct {
	air  *air
	name string // "" for air of its own

	// Both guarded by air.mu.
	closed bool
	mine   map[*earshot]struct{} // of this connection
}

var (
	_ driver.Conn     = (*PubSub)(nil)
	_ driver.Patterns = (*PubSub)(nil)
)

// air is what the connections of one name share.
type air struct {
	mu    sync.Mutex
	ears  map[*earshot]struct{}
	conns int // guarded by airs
}

// earshot is a listener and what it hears.
type earshot struct {
	*driverkit.Listener
	hears func(topic string) bool
	names bool // deliveries name their topic
}

// airs holds those that have a name, for the same reason as named.
var airs = struct {
	sync.Mutex
	named map[string]*air
}{named: make(map[string]*air)}

// pubSubRoom is what waits for a slow listener.
var pubSubRoom = driverkit.Room{Events: 4096, Bytes: 16 << 20}

// OpenPubSub connects to what url names: "mem+pubsub:", which nobody else hears, or
// "mem+pubsub:NAME", which all of this process share.
func OpenPubSub(ctx context.Context, url string) (*PubSub, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, ok := strings.CutPrefix(url, "mem+pubsub:")
	if !ok || strings.ContainsAny(name, "/?#") {
		return nil, fmt.Errorf("%w: url %q (want mem+pubsub: or mem+pubsub:NAME)", driver.ErrRefused, url)
	}
	airs.Lock()
	defer airs.Unlock()
	a := airs.named[name]
	if a == nil {
		a = &air{ears: make(map[*earshot]struct{})}
	}
	if name != "" {
		airs.named[name] = a
	}
	a.conns++
	return &PubSub{air: a, name: name, mine: make(map[*earshot]struct{})}, nil
}

// Features reports what is promised, which is little.
func (*PubSub) Features() driver.Features {
	return driver.Features{
		Engine:     "mem+pubsub",
		Durability: driver.Memory,
		Setting:    "nothing is stored: open sqlite:FILE for events that have to survive",
		KeyOrder:   true,
		Ephemeral:  true,
		Patterns:   true,
	}
}

// Publish hands copies to everybody who listens; see driver.Conn.
func (c *PubSub) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mem+pubsub: %w: %w", driver.ErrNotStored, err)
	}
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("mem+pubsub: %w", driver.ErrClosed)
	}
	receipts := make([]driver.Receipt, len(batches))
	for i := range batches {
		receipts[i].Stored = len(batches[i].Messages)
		for e := range c.air.ears {
			if e.hears(batches[i].Topic) {
				e.tell(&batches[i])
			}
		}
	}
	return receipts, nil
}

func (e *earshot) tell(b *driver.Batch) {
	for i := range b.Messages {
		d := driver.Delivery{Message: b.Messages[i], Stored: now()}
		d.Data, d.Attributes = slices.Clone(d.Data), maps.Clone(d.Attributes)
		if e.names {
			d.Topic = b.Topic
		}
		e.Push(d)
	}
}

// Subscribe listens to a topic; see driver.Conn.
func (c *PubSub) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	return c.listen(ctx, spec, &earshot{hears: func(topic string) bool { return topic == spec.Topic }})
}

// SubscribePattern listens to the topics that match; see driver.Patterns.
func (c *PubSub) SubscribePattern(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	hears := func(topic string) bool { return driver.MatchTopic(spec.Topic, topic) }
	return c.listen(ctx, spec, &earshot{hears: hears, names: true})
}

func (c *PubSub) listen(ctx context.Context, spec driver.SubscribeSpec, e *earshot) (driver.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if spec.Topic == "" {
		return nil, fmt.Errorf("mem+pubsub: listener %q: a topic needs a name: %w", spec.Group, driver.ErrRefused)
	}
	e.Listener = driverkit.NewListener(spec, pubSubRoom, nil, func() { c.forget(e) })
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("mem+pubsub: %w", driver.ErrClosed)
	}
	c.air.ears[e], c.mine[e] = struct{}{}, struct{}{}
	return e.Listener, nil
}

func (c *PubSub) forget(e *earshot) {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	delete(c.air.ears, e)
	delete(c.mine, e)
}

// Close ends everything at once; see driver.Conn.
func (c *PubSub) Close() error {
	c.air.mu.Lock()
	again := c.closed
	c.closed = true
	mine := slices.Collect(maps.Keys(c.mine))
	c.air.mu.Unlock()
	if again {
		return nil
	}
	for _, e := range mine {
		e.Listener.Close() // cannot fail
	}
	airs.Lock()
	defer airs.Unlock()
	if c.air.conns--; c.air.conns == 0 {
		delete(airs.named, c.name)
	}
	return nil
}
