package deed_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
)

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

	// A group sees every event, once for all of its processes.
	inventory := deed.Subscribe("inventory", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			fmt.Println("reserve stock for", e.Data.OrderID)
			stop() // a service goes on until it is told to end
			return nil
		}))
	if err := bus.Run(ctx, inventory); err != nil {
		log.Fatal(err)
	}
	// [readme]

	// Output:
	// reserve stock for o-1
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
