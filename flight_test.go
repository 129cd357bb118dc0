package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// twoFlights is a scripted engine that gains by two Publish calls at once, and counts
// those that have begun.
type twoFlights struct {
	*script
	begun chan struct{}
}

func (e twoFlights) Features() driver.Features {
	f := e.script.Features()
	f.Flights = 2
	return f
}

func (e twoFlights) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	e.begun <- struct{}{}
	return e.script.Publish(ctx, batches)
}

func openFlights(t *testing.T) (*deed.Bus, twoFlights) {
	t.Helper()
	e := twoFlights{&script{gate: make(chan struct{})}, make(chan struct{}, 10)}
	bus := openBusWith(t, "mem:", func(c driver.Conn) driver.Conn {
		e.Conn = c
		return e
	})
	return bus, e
}

// many is as much as is worth a flight beside another.
func many(key string, first int) []deed.Draft {
	drafts := make([]deed.Draft, 1024)
	for i := range drafts {
		drafts[i] = noted.New(note{key, first + i})
	}
	return drafts
}

func TestTwoPublishCallsAtOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, e := openFlights(t)
		errs := make(chan error, 4)
		for i, call := range []struct {
			drafts []deed.Draft
			begun  int
		}{
			{[]deed.Draft{noted.New(note{"a", 1})}, 1},
			{[]deed.Draft{noted.New(note{"b", 1})}, 1}, // waits for more, or for the first
			{many("b", 2), 2},
			{many("c", 1), 2},
		} {
			go func() { errs <- bus.Publish(t.Context(), call.drafts...) }()
			synctest.Wait()
			if len(e.begun) != call.begun {
				t.Errorf("%d engine calls at once after %d Publish calls, want %d", len(e.begun), i+1, call.begun)
			}
		}
		close(e.gate)
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got, want := len(stored(t, bus, "notes")), 2+2*1024; got != want {
			t.Errorf("%d events stored, want %d", got, want)
		}
	})
}

// A caller who gives up on a call that is in flight, and publishes the next event of the key,
// has both in this order.
func TestNothingOvertakesACallThatWasGivenUp(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, e := openFlights(t)
		ctx, giveUp := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- bus.Publish(ctx, noted.New(note{"a", 1})) }()
		synctest.Wait()
		giveUp()
		var failed *deed.PublishError
		if err := <-first; !errors.As(err, &failed) || !slices.Equal(failed.Unknown, []int{0}) {
			t.Errorf("a call in flight that was given up: %v", err)
		}
		go func() { second <- bus.Publish(t.Context(), many("a", 2)...) }()
		synctest.Wait()
		if len(e.begun) != 1 {
			t.Errorf("%d engine calls have begun while the first is in flight, want 1", len(e.begun))
		}
		close(e.gate)
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		got := stored(t, bus, "notes")
		for i, s := range got {
			if want := fmt.Sprintf(`{"Key":"a","N":%d}`, i+1); string(s.Data) != want {
				t.Fatalf("event %d is %s, want %s", i+1, s.Data, want)
			}
		}
		if len(got) != 1025 {
			t.Errorf("%d events stored, want 1025", len(got))
		}
	})
}

// A call that waits for others to fly with is not in flight: nothing of it is stored when
// its caller gives up.
func TestGivingUpBeforeTheFlight(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, e := openFlights(t)
		first := make(chan error, 1)
		go func() { first <- bus.Publish(t.Context(), noted.New(note{"a", 1})) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var failed *deed.PublishError
		err := bus.Publish(ctx, noted.New(note{"a", 2}))
		if !errors.As(err, &failed) || !slices.Equal(failed.NotStored, []int{0}) {
			t.Errorf("a call that waits: %v", err)
		}
		close(e.gate)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if got := stored(t, bus, "notes"); len(got) != 1 {
			t.Errorf("%d events stored, want 1", len(got))
		}
	})
}
