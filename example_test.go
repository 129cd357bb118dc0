package deed_test

import (
	"context"
	"log"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedmem"
)

// [events]

// OrderCreated is what the order service announces.
type OrderCreated struct {
	OrderID string `json:"order_id"`
	Total   int    `json:"total"`
}

// Orders is the topic, and Created names the events and their key: order is kept
// among the events of one order.
var (
	Orders  = deed.NewTopic("orders", nil)
	Created = deed.NewType(Orders, "orders.created", 1, func(o OrderCreated) string { return o.OrderID })
)

// [events]

// openMemory opens a bus for an example that keeps nothing.
func openMemory(ctx context.Context) *deed.Bus {
	conn, err := deedmem.Open(ctx, "mem:", nil)
	if err != nil {
		log.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/orders"})
	if err != nil {
		log.Fatal(err)
	}
	return bus
}

// mustPublish publishes orders and gives up on any failure.
func mustPublish(ctx context.Context, bus *deed.Bus, orders ...OrderCreated) {
	drafts := make([]deed.Draft, len(orders))
	for i, o := range orders {
		drafts[i] = Created.New(o)
	}
	if err := bus.Publish(ctx, drafts...); err != nil {
		log.Fatal(err)
	}
}

// mustRun runs until ctx ends and gives up on any failure.
func mustRun(ctx context.Context, bus *deed.Bus, runners ...deed.Runner) {
	if err := bus.Run(ctx, runners...); err != nil {
		log.Fatal(err)
	}
}

// runUntil runs until done reports true.
func runUntil(ctx context.Context, bus *deed.Bus, s *deed.Subscription, done func() bool) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { mustRun(ctx, bus, s) })
	for tick := time.NewTicker(time.Millisecond); !done(); <-tick.C {
	}
	stop()
	running.Wait()
}
