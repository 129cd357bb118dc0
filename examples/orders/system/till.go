package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/engine/deedmqtt"
	"github.com/deedgo/deed/examples/orders/events"
)

// till is a device in the shop, which knows the broker and nobody else. Customers order at
// it, and it hears what becomes of their orders.
type till struct {
	bus     *deed.Bus         // on the broker
	hearing *deedmqtt.Session // of what the edge carries out

	mu      sync.Mutex
	seen    map[string]bool // ids: what the edge publishes twice is one event
	heard   map[string]int  // outcomes by order
	damaged error
}

// openTill returns the till where customers order at one, else nil.
func openTill(ctx context.Context, o Options) (*till, error) {
	if o.Broker == "" {
		return nil, nil
	}
	opts := &deed.Options{Source: "/till", Logger: slog.New(slog.DiscardHandler)}
	bus, err := engine.Open(ctx, o.Broker, opts)
	if err != nil {
		return nil, err
	}
	t := &till{bus: bus, seen: make(map[string]bool), heard: make(map[string]int)}
	t.hearing, err = deedmqtt.Dial(ctx, o.Broker, deedmqtt.SessionOptions{Hear: t.hear})
	if err != nil {
		return nil, errors.Join(err, bus.Close())
	}
	if err := t.hearing.Subscribe(ctx, deedmqtt.Subscription{Filter: events.Orders.Name()}); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// hear notes how an order ended.
func (t *till) hear(h deedmqtt.Heard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := h.Message
	switch {
	case h.Damage != nil:
		t.damaged = h.Damage
	case m.Type == events.OrderCreated.Name() || t.seen[m.ID]:
	default:
		t.seen[m.ID] = true
		t.heard[m.Key]++
	}
}

// place orders once. The event has the order's id, so that it is one event however often
// the broker gets it.
func (t *till) place(ctx context.Context, i int) answered {
	a := answered{id: orderID(i), request: makeRequest(i)}
	draft := events.TillOrdered.New(events.Ordered{
		OrderID: a.id, Customer: a.request.Customer, Items: a.request.Items,
	})
	draft.ID = a.id
	for deadline := time.Now().Add(giveUpAfter); ; a.repeated++ {
		err := t.bus.Publish(ctx, draft)
		if err == nil || ctx.Err() != nil || errors.Is(err, driver.ErrRefused) || time.Now().After(deadline) {
			a.err = err
			return a
		}
		pause(ctx, askAgainAfter)
	}
}

// await waits until the till has heard how so many orders ended.
func (t *till) await(ctx context.Context, o Options) error {
	for deadline := time.Now().Add(o.Patience); ctx.Err() == nil; {
		t.mu.Lock()
		n, err := len(t.heard), t.damaged
		t.mu.Unlock()
		switch {
		case err != nil:
			return fmt.Errorf("the till heard something else: %w", err)
		case n >= o.Orders:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the till heard about %d of %d orders", n, o.Orders)
		}
		pause(ctx, lookEvery)
	}
	return ctx.Err()
}

// outcomes returns how many the till has heard of each order.
func (t *till) outcomes() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.heard)
}

// close ends both connections.
func (t *till) close() error { return errors.Join(t.hearing.Close(), t.bus.Close()) }
