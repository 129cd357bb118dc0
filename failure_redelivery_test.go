package deed_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// forgetful is an engine that stores no positions, as if the process died before it
// came to that.
type forgetful struct{ driver.Conn }

func (f forgetful) Unwrap() driver.Conn { return f.Conn }

func (f forgetful) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	sub, err := f.Conn.Subscribe(ctx, spec)
	return forgetfulSub{sub}, err
}

type forgetfulSub struct{ driver.Subscription }

func (s forgetfulSub) Settle(ctx context.Context, settlements []driver.Settlement) ([]int, error) {
	for i := range settlements {
		settlements[i].Position = ""
	}
	return s.Subscription.Settle(ctx, settlements)
}

func TestDeadLetterStaysDeadWhenItIsDeliveredAgain(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		home := openBus(t, "mem:again")
		publish(t, home, note{"k", 1}, note{"k", 2})
		tries := 0
		for range 2 {
			conn, err := deedmem.Open(t.Context(), "mem:again", nil)
			if err != nil {
				t.Fatal(err)
			}
			bus, err := deed.New(forgetful{conn}, &deed.Options{Logger: quiet, Lease: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			stop := start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(context.Context, deed.Received[note]) error {
				tries++
				return deed.Reject(errors.New("no good"))
			})))
			time.Sleep(5 * time.Second)
			stop()
			if err := bus.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if l := lag(t, home, "g"); tries != 1 || l.Dead != 1 || l.Parked != 1 {
			t.Errorf("after a second delivery %d tries, %d dead, %d parked; want 1 of each", tries, l.Dead, l.Parked)
		}
	})
}

// Parallel bounds suspect events too: a handler that is not made for company never
// has any.
func TestParallelOneIsOneAfterACrash(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		home := openBus(t, "mem:one")
		for n := range 50 {
			for k := range 20 {
				publish(t, home, note{string(rune('a' + k)), n + 1})
			}
		}
		var running, most atomic.Int32
		handled := 0
		for life := range 2 {
			conn, err := deedmem.Open(t.Context(), "mem:one", nil)
			if err != nil {
				t.Fatal(err)
			}
			bus, err := deed.New(conn, &deed.Options{Logger: quiet, Lease: time.Second, Source: "/t"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			sub := deed.Subscribe("g", &deed.SubscribeOptions{Parallel: 1},
				deed.On(noted, func(context.Context, deed.Received[note]) error {
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Millisecond)
					running.Add(-1)
					handled++
					return nil
				}))
			go func() { done <- bus.Run(ctx, sub) }()
			if life == 0 {
				time.Sleep(100 * time.Millisecond)
				_ = conn.Close() // without release: what was fetched is suspect
			} else {
				time.Sleep(time.Second)
				publish(t, home, note{"a", 51}, note{"b", 51})
				time.Sleep(10 * time.Second)
			}
			cancel()
			<-done
			_ = bus.Close()
		}
		if most.Load() != 1 || handled < 1002 {
			t.Errorf("%d handlers at once, %d events handled; want 1 and at least 1002", most.Load(), handled)
		}
	})
}
