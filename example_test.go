package deed_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
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

// How do I announce that something happened, and respond to it?
func Example() {
	leave := enterTempDir()
	defer leave()

	// [readme]
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus, err := engine.Open(ctx, "sqlite:orders.db", &deed.Options{Source: "/orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	// When Publish returns nil the event is on the disk.
	if err := bus.Publish(ctx, Created.New(OrderCreated{OrderID: "o-1", Total: 4200})); err != nil {
		log.Fatal(err)
	}

	// A group is a service: each group sees every event.
	inventory := deed.Subscribe("inventory", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			fmt.Println("inventory: reserve for", e.Data.OrderID)
			stop() // a service goes on until it is told to end
			return nil
		}))
	if err := bus.Run(ctx, inventory); err != nil {
		log.Fatal(err)
	}
	// [readme]

	// Output:
	// inventory: reserve for o-1
}

// enterTempDir lets an example use a plain file name.
func enterTempDir() (leave func()) {
	before, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "deed-example-")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.Chdir(dir); err != nil {
		log.Fatal(err)
	}
	return func() {
		if err := os.Chdir(before); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

// openMemory opens a bus for an example that keeps nothing.
func openMemory(ctx context.Context) *deed.Bus {
	bus, err := engine.Open(ctx, "mem:", &deed.Options{Source: "/orders"})
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
