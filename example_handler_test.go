package deed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/deedgo/deed"
)

// How do I handle many events with one statement?
func ExampleOnBatch() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{"o-1", 10}, OrderCreated{"o-1", 20}, OrderCreated{"o-1", 30})

	sum := 0
	mustRun(ctx, bus, deed.Subscribe("revenue", nil,
		deed.OnBatch(Created, 100, func(ctx context.Context, batch []deed.Received[OrderCreated]) error {
			for _, e := range batch {
				sum += e.Data.Total
			}
			if sum == 60 {
				stop()
			}
			return nil
		})))
	fmt.Println("revenue:", sum)

	// Output:
	// revenue: 60
}

// How do I say that only some events of a batch failed?
func ExampleBatchError() {
	insert := func(ctx context.Context, batch []deed.Received[OrderCreated]) error {
		failed := deed.BatchError{}
		for i, e := range batch {
			if e.Data.Total < 0 {
				failed[i] = deed.Reject(errors.New("negative total"))
			}
		}
		if len(failed) > 0 {
			return failed // the others are done
		}
		return nil
	}

	err := insert(context.Background(), []deed.Received[OrderCreated]{
		{Data: OrderCreated{OrderID: "o-1", Total: 10}},
		{Data: OrderCreated{OrderID: "o-2", Total: -1}},
	})
	fmt.Println(err)

	// Output:
	// 1 events of the batch failed, the first at index 1: negative total
}

// How do I see all events of a topic, whatever their type?
func ExampleOnAny() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1", Total: 4200})

	mustRun(ctx, bus, deed.Subscribe("audit", nil,
		deed.OnAny(Orders, func(ctx context.Context, e deed.Received[[]byte]) error {
			fmt.Printf("%s from %s about %s: %s\n", e.Type, e.Source, e.Key, e.Data)
			stop()
			return nil
		})))

	// Output:
	// orders.created from /orders about o-1: {"order_id":"o-1","total":4200}
}

// How do I test a handler? Call it: Received is a plain struct.
func ExampleReceived() {
	reserve := func(ctx context.Context, e deed.Received[OrderCreated]) error {
		if e.Data.Total == 0 {
			return deed.Reject(errors.New("order is empty"))
		}
		return nil
	}

	err := reserve(context.Background(), deed.Received[OrderCreated]{
		Data:     OrderCreated{OrderID: "o-1"},
		Delivery: deed.Delivery{Attempt: 1},
	})
	fmt.Println(err)

	// Output:
	// order is empty
}

// How do I call a system that must not do things twice?
func ExampleIdempotencyKey() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	draft := Created.New(OrderCreated{OrderID: "o-1", Total: 4200})
	draft.ID = "e-1" // a UUIDv7 unless set
	if err := bus.Publish(ctx, draft); err != nil {
		fmt.Println(err)
		return
	}

	mustRun(ctx, bus, deed.Subscribe("payments", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			// The same on every attempt, also after a crash, so that the payment
			// provider recognises the second call.
			fmt.Println("Idempotency-Key:", deed.IdempotencyKey(ctx, "charge"))
			stop()
			return nil
		})))

	// Output:
	// Idempotency-Key: payments//orders/e-1/charge
}

// How do I do something around every handler?
func ExampleMiddleware() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{OrderID: "o-1"})

	timed := func(next deed.HandlerFunc) deed.HandlerFunc {
		return func(ctx context.Context, e deed.Received[[]byte]) error {
			began := time.Now()
			err := next(ctx, e)
			slog.Debug("handled", "type", e.Type, "id", e.ID, "took", time.Since(began), "error", err)
			fmt.Println("handled", e.Type, "error:", err)
			return err
		}
	}
	mustRun(ctx, bus, deed.Subscribe("inventory", &deed.SubscribeOptions{Middleware: []deed.Middleware{timed}},
		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
			stop()
			return nil
		})))

	// Output:
	// handled orders.created error: <nil>
}
