package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
)

func upTo(n int) []int {
	ns := make([]int, n)
	for i := range ns {
		ns[i] = i + 1
	}
	return ns
}

func TestOrderPerKeyInParallel(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var j journal
		var running, most atomic.Int32
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Millisecond)
			running.Add(-1)
			j.add(e.Data)
			return nil
		})))
		for n := range 50 {
			for k := range 20 {
				publish(t, bus, note{fmt.Sprint("k", k), n + 1})
			}
		}
		time.Sleep(time.Minute)
		for k := range 20 {
			if got := j.of(fmt.Sprint("k", k)); !slices.Equal(got, upTo(50)) {
				t.Errorf("key k%d handled as %v", k, got)
			}
		}
		if most.Load() < 2 {
			t.Errorf("at most %d handlers ran at once, want several", most.Load())
		}
		if l := lag(t, bus, "g"); l.Events != 0 {
			t.Errorf("lag is %d, want 0", l.Events)
		}
	})
}

func TestBatches(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		for n := range 100 {
			publish(t, bus, note{fmt.Sprint(n % 7), n/7 + 1})
		}
		var j journal
		var sizes []int
		failedOnce := false
		opts := &deed.SubscribeOptions{Parallel: 1}
		start(t, bus, deed.Subscribe("g", opts, deed.OnBatch(noted, 16,
			func(ctx context.Context, es []deed.Received[note]) error {
				sizes = append(sizes, len(es))
				if len(es) > 3 && !failedOnce {
					failedOnce = true
					return deed.BatchError{2: errors.New("this one")}
				}
				if len(sizes) == 3 {
					return errors.New("all")
				}
				for _, e := range es {
					j.add(e.Data)
				}
				return nil
			})))
		time.Sleep(10 * time.Minute)
		if l := lag(t, bus, "g"); l.Events+l.Parked+l.Dead != 0 {
			t.Errorf("left over: %+v", l)
		}
		if slices.Max(sizes) < 2 || slices.Max(sizes) > 16 {
			t.Errorf("batch sizes: %v", sizes)
		}
	})
}

func TestBatchWaitsBehindWhatCannotBeDecoded(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		publish(t, bus, note{"k", 1})
		bad := deed.NewDraft(notes, deed.Event{Type: "note.taken", Key: "k", Data: []byte("{")})
		if err := bus.Publish(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		publish(t, bus, note{"k", 2}, note{"k", 3}, note{"other", 1})
		var j journal
		start(t, bus, deed.Subscribe("g", nil, deed.OnBatch(noted, 10,
			func(ctx context.Context, es []deed.Received[note]) error {
				for _, e := range es {
					j.add(e.Data)
				}
				return nil
			})))
		time.Sleep(time.Second)
		if got := j.of("k"); !slices.Equal(got, []int{1}) || len(j.of("other")) != 1 {
			t.Errorf("handled %v of the key", got)
		}
		if l := lag(t, bus, "g"); l.Dead != 1 || l.Parked != 2 || l.Events != 0 {
			t.Errorf("%+v, want 1 dead and 2 parked", l)
		}
	})
}

func TestDrainLetsHandlersFinishAndNoneStart(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var started, finished atomic.Int32
		sub := deed.Subscribe("g", &deed.SubscribeOptions{Parallel: 4},
			deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
				started.Add(1)
				time.Sleep(500 * time.Millisecond)
				finished.Add(1)
				return ctx.Err()
			}))
		for n := range 20 {
			publish(t, bus, note{fmt.Sprint(n), 1})
		}
		stop := start(t, bus, sub)
		time.Sleep(100 * time.Millisecond)
		stop()
		if started.Load() != 4 || finished.Load() != 4 {
			t.Errorf("started %d, finished %d, want 4 each", started.Load(), finished.Load())
		}
	})
}

func TestDrainDeadlineCancelsWithCause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		cause := make(chan error, 1)
		stop := start(t, bus, deed.Subscribe("g", nil,
			deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return ctx.Err()
			})))
		publish(t, bus, note{"k", 1})
		time.Sleep(100 * time.Millisecond)
		stop()
		if err := <-cause; !errors.Is(err, deed.ErrStopping) {
			t.Errorf("cause: %v", err)
		}
		if l := lag(t, bus, "g"); l.Events != 1 || l.Dead+l.Parked != 0 {
			t.Errorf("a cancelled event: %+v, want it waiting", l)
		}
	})
}

func TestMembersShareAndHandOver(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		a, b := openBus(t, "mem:share"), openBus(t, "mem:share")
		var j journal
		var byA, byB atomic.Int32
		sub := func(n *atomic.Int32) *deed.Subscription {
			return deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
				n.Add(1)
				j.add(e.Data)
				return nil
			}))
		}
		start(t, a, sub(&byA))
		publishRange := func(from, to int) {
			for n := from; n <= to; n++ {
				for k := range 40 {
					publish(t, a, note{fmt.Sprint("k", k), n})
				}
			}
		}
		publishRange(1, 5)
		stopB := start(t, b, sub(&byB))
		publishRange(6, 10)
		time.Sleep(10 * time.Second)
		publishRange(11, 15)
		time.Sleep(time.Second)
		stopB()
		publishRange(16, 20)
		time.Sleep(10 * time.Second)
		for k := range 40 {
			if got := j.of(fmt.Sprint("k", k)); !slices.Equal(got, upTo(20)) {
				t.Errorf("key k%d: %v", k, got)
			}
		}
		if byA.Load() == 0 || byB.Load() == 0 {
			t.Errorf("handled by a: %d, by b: %d", byA.Load(), byB.Load())
		}
	})
}

func TestContextFlowsFromHandledToPublished(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		echoes := deed.NewTopic("echoes", nil)
		echoed := deed.NewType(echoes, "note.echoed", 1, func(n note) string { return n.Key })
		got := make(chan deed.Event, 1)
		keys := make(chan string, 1)
		start(t, bus,
			deed.Subscribe("echo", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
				keys <- deed.IdempotencyKey(ctx, "mail")
				return bus.Publish(ctx, echoed.New(e.Data))
			})),
			deed.Subscribe("listen", nil, deed.On(echoed, func(ctx context.Context, e deed.Received[note]) error {
				got <- e.Event
				return nil
			})))
		d := noted.New(note{"k", 1})
		d.ID = "first"
		d.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		if err := bus.Publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if key := <-keys; key != "echo//test/first/mail" {
			t.Errorf("idempotency key %q", key)
		}
		e := <-got
		if e.CorrelationID != "first" || e.CausationID != "first" {
			t.Errorf("correlation %q, causation %q", e.CorrelationID, e.CausationID)
		}
		if e.TraceParent[:36] != d.TraceParent[:36] || e.TraceParent == d.TraceParent || len(e.TraceParent) != 55 {
			t.Errorf("trace %q of %q", e.TraceParent, d.TraceParent)
		}
	})
}

func TestRunReportsEveryMistake(t *testing.T) {
	bus := openBus(t, "mem:")
	nop := func(context.Context, deed.Received[note]) error { return nil }
	err := bus.Run(t.Context(), deed.Subscribe("bad name", &deed.SubscribeOptions{Parallel: -1},
		deed.On(noted, nop), deed.On(noted, nop), deed.Handler{}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`group name "bad name"`, "Parallel is -1", `two handlers for type "note.taken"`, "empty Handler",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

func TestTypesWithoutHandlerArePassedOver(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		nop := func(context.Context, deed.Received[note]) error { return nil }
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, nop)))
		if err := bus.Publish(t.Context(), deed.NewDraft(notes, deed.Event{Type: "other", Key: "k"})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if l := lag(t, bus, "g"); l.Events != 0 {
			t.Errorf("lag %d", l.Events)
		}
	})
}

func TestMiddlewareWrapsOutsideIn(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var order []string
		mw := func(name string) deed.Middleware {
			return func(next deed.HandlerFunc) deed.HandlerFunc {
				return func(ctx context.Context, e deed.Received[[]byte]) error {
					order = append(order, name)
					return next(ctx, e)
				}
			}
		}
		opts := &deed.SubscribeOptions{Middleware: []deed.Middleware{mw("outer"), mw("inner")}}
		start(t, bus, deed.Subscribe("g", opts, deed.On(noted, func(context.Context, deed.Received[note]) error {
			order = append(order, "handler")
			return nil
		})))
		publish(t, bus, note{"k", 1})
		synctest.Wait()
		time.Sleep(time.Second)
		if !slices.Equal(order, []string{"outer", "inner", "handler"}) {
			t.Errorf("order: %v", order)
		}
	})
}
