package deed_test

import (
	"context"
	"errors"
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
