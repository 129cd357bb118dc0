package deed_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
)

// How do I say that an event failed for now?
func ExampleRetryAfter() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1"})

	mustRun(ctx, bus, deed.Subscribe("shipping", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			if e.Attempt == 1 {
				fmt.Println("attempt 1: the carrier asks for patience")
				return deed.RetryAfter(10*time.Millisecond, errors.New("429 Too Many Requests"))
			}
			fmt.Println("attempt 2: shipped", e.Data.OrderID)
			stop()
			return nil
		})))

	// Output:
	// attempt 1: the carrier asks for patience
	// attempt 2: shipped o-1
}

// How do I say that an event can never be handled, and find it again?
func ExampleReject() {
	ctx := context.Background()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1", Total: -5})

	runUntilDead(ctx, bus, 1, deed.Subscribe("billing", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			return deed.Reject(fmt.Errorf("total is %d", e.Data.Total))
		})))

	for letter, err := range deadletter.List(ctx, bus, &deadletter.Filter{Group: "billing"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s: %s\n", letter.Event.Key, letter.Reason, letter.Error)
	}

	// Output:
	// o-1 rejected: total is -5
}

// How do I let an order go on after its cause was mended?
func Example_redrive() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1", Total: -5}, OrderCreated{OrderID: "o-1", Total: 5})

	billing := func(handle func(ctx context.Context, e deed.Received[OrderCreated]) error) *deed.Subscription {
		return deed.Subscribe("billing", nil, deed.On(Created, handle))
	}
	runUntilDead(ctx, bus, 1, billing(func(ctx context.Context, e deed.Received[OrderCreated]) error {
		return deed.Reject(errors.New("negative total"))
	}))

	// The new release can deal with it. What waited behind it follows, in order.
	n, err := deadletter.Redrive(ctx, bus, &deadletter.Filter{Group: "billing"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("redriven:", n)
	mustRun(ctx, bus, billing(func(ctx context.Context, e deed.Received[OrderCreated]) error {
		fmt.Println("billed", e.Data.OrderID, e.Data.Total)
		if e.Data.Total > 0 {
			stop()
		}
		return nil
	}))

	// Output:
	// redriven: 1
	// billed o-1 -5
	// billed o-1 5
}

// runUntilDead runs until there are n dead letters.
func runUntilDead(ctx context.Context, bus *deed.Bus, n int, s *deed.Subscription) {
	runUntil(ctx, bus, s, func() bool {
		dead := 0
		for _, err := range deadletter.List(ctx, bus, nil) {
			if err != nil {
				log.Fatal(err)
			}
			dead++
		}
		return dead == n
	})
}
