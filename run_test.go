package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
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

func TestFailuresAreTriedAgainInOrder(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var j journal
		var attempts []int
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			if e.Data.Key == "bad" && e.Data.N == 2 {
				attempts = append(attempts, e.Attempt)
				if e.Attempt < 6 {
					return errors.New("not yet")
				}
			}
			j.add(e.Data)
			return nil
		})))
		for n := range 5 {
			publish(t, bus, note{"bad", n + 1}, note{"good", n + 1})
		}
		time.Sleep(time.Second)
		if got := j.of("good"); !slices.Equal(got, upTo(5)) {
			t.Errorf("another key waited: %v", got)
		}
		if got := j.of("bad"); !slices.Equal(got, []int{1}) {
			t.Errorf("behind the failed event: %v, want only what came before it", got)
		}
		time.Sleep(10 * time.Minute)
		if got := j.of("bad"); !slices.Equal(got, upTo(5)) {
			t.Errorf("after the retries: %v", got)
		}
		if !slices.Equal(attempts, upTo(6)) {
			t.Errorf("attempts seen: %v", attempts)
		}
		if l := lag(t, bus, "g"); l.Events+l.Parked+l.Dead != 0 {
			t.Errorf("left over: %+v", l)
		}
	})
}

func TestDeadLetterHoldsItsKeyAndRedriveReleasesIt(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var j journal
		var fixed atomic.Bool
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			if e.Data.Key == "bad" && e.Data.N == 2 && !fixed.Load() {
				return deed.Reject(errors.New("no good"))
			}
			j.add(e.Data)
			return nil
		})))
		for n := range 100 {
			publish(t, bus, note{"bad", n + 1}, note{"good", n + 1})
		}
		time.Sleep(time.Second)
		if l := lag(t, bus, "g"); l.Dead != 1 || l.Parked != 98 || l.Events != 0 {
			t.Fatalf("after the rejection: %+v, want 1 dead, 98 parked, no lag", l)
		}
		dead := letters(t, bus, driver.Dead)[0]
		if dead.Reason != "rejected" || dead.Error != "no good" || dead.Attempts != 1 || dead.Key != "bad" {
			t.Errorf("dead letter: %+v", dead)
		}
		fixed.Store(true)
		admin, _ := driver.As[driver.Letters](bus.Conn())
		if n, err := admin.Redrive(t.Context(), []int64{dead.ID}); n != 1 || err != nil {
			t.Fatalf("Redrive = %d, %v", n, err)
		}
		for n := range 50 { // events keep coming meanwhile
			publish(t, bus, note{"bad", n + 101})
		}
		time.Sleep(10 * time.Second)
		publish(t, bus, note{"bad", 151})
		time.Sleep(time.Second)
		if got := j.of("bad"); !slices.Equal(got, upTo(151)) {
			t.Errorf("order after the redrive: %v", got)
		}
		if l := lag(t, bus, "g"); l.Dead+l.Parked+l.Events != 0 {
			t.Errorf("left over: %+v", l)
		}
	})
}

func TestSkipDeadLetsTheKeyThrough(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var j journal
		opts := &deed.SubscribeOptions{SkipDead: true}
		start(t, bus, deed.Subscribe("g", opts, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			if e.Data.N%2 == 0 {
				return deed.Reject(errors.New("even"))
			}
			j.add(e.Data)
			return nil
		})))
		for n := range 10 {
			publish(t, bus, note{"k", n + 1})
		}
		time.Sleep(time.Second)
		if got := j.of("k"); !slices.Equal(got, []int{1, 3, 5, 7, 9}) {
			t.Errorf("handled %v", got)
		}
		if l := lag(t, bus, "g"); l.Dead != 5 || l.Parked != 0 {
			t.Errorf("%+v, want 5 dead, none parked", l)
		}
	})
}

func TestExhaustedAndPanickingEventsDie(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		opts := &deed.SubscribeOptions{Retry: deed.Retry{Attempts: 3}}
		start(t, bus, deed.Subscribe("g", opts, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			if e.Data.Key == "panic" {
				panic("boom")
			}
			return errors.New("never")
		})))
		publish(t, bus, note{"panic", 1}, note{"fail", 1})
		time.Sleep(10 * time.Minute)
		ls := letters(t, bus, driver.Dead)
		if len(ls) != 2 {
			t.Fatalf("%d dead letters, want 2", len(ls))
		}
		for _, l := range ls {
			if l.Reason != "exhausted" || l.Attempts != 3 || l.Position == "" {
				t.Errorf("letter: %+v", l)
			}
			if l.Key == "panic" && (l.Stack == "" || l.Error != "panic: boom") {
				t.Errorf("a panic's letter has error %q and stack %q", l.Error, l.Stack)
			}
		}
	})
}

func TestUndecodableAndUnknownVersionsDie(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(context.Context, deed.Received[note]) error {
			t.Error("handled")
			return nil
		})))
		bad := deed.NewDraft(notes, deed.Event{Type: "note.taken", Key: "a", Data: []byte("{")})
		newer := deed.NewDraft(notes, deed.Event{Type: "note.taken", Version: 2, Key: "b", Data: []byte("{}")})
		if err := bus.Publish(t.Context(), bad, newer); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		reasons := map[string]string{}
		for _, l := range letters(t, bus, driver.Dead) {
			reasons[l.Key] = l.Reason
		}
		if reasons["a"] != "undecodable" || reasons["b"] != "unknown version" {
			t.Errorf("reasons: %v", reasons)
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

func TestOutagePausesAndProbes(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		var j journal
		var calls atomic.Int32
		began := time.Now()
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			calls.Add(1)
			if time.Since(began) < 2*time.Minute {
				return errors.New("downstream is down")
			}
			j.add(e.Data)
			return nil
		})))
		for n := range 5 {
			for k := range 2000 {
				publish(t, bus, note{fmt.Sprint("k", k), n + 1})
			}
		}
		time.Sleep(time.Minute)
		if l := lag(t, bus, "g"); l.Status != "paused: downstream is down" || l.Dead != 0 {
			t.Errorf("during the outage: %+v", l)
		}
		if n := calls.Load(); n > 2000 {
			t.Errorf("%d calls to a downstream that is down", n)
		}
		time.Sleep(5 * time.Minute)
		if l := lag(t, bus, "g"); l.Events+l.Parked+l.Dead != 0 || l.Status != "" {
			t.Errorf("after the outage: %+v", l)
		}
		for k := range 2000 {
			if got := j.of(fmt.Sprint("k", k)); !slices.Equal(got, upTo(5)) {
				t.Fatalf("key k%d: %v", k, got)
			}
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

// A crash is a connection that ends without handing over, with handlers at work.
func TestOnlyTheCrashingEventDies(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		keeper := openBus(t, "mem:crash") // keeps the store alive
		for n := range 30 {
			for k := range 8 {
				publish(t, keeper, note{fmt.Sprint("k", k), n + 1})
			}
		}
		var j journal
		crashes := 0
		for lives := 0; ; lives++ {
			if lives > 20 {
				t.Fatal("the crashing event does not die")
			}
			if crashed := live(t, &j); !crashed {
				break
			}
			crashes++
		}
		dead := letters(t, keeper, driver.Dead)
		if len(dead) != 1 || dead[0].Reason != "crashed" || dead[0].Key != "k3" {
			t.Fatalf("dead letters after %d crashes: %+v", crashes, dead)
		}
		for k := range 8 {
			got := slices.Compact(j.of(fmt.Sprint("k", k)))
			if k != 3 && got[len(got)-1] != 30 {
				t.Errorf("key k%d ended at %d", k, got[len(got)-1])
			}
		}
		if l := lag(t, keeper, "g"); l.Events != 0 || l.Parked != 30-5 {
			t.Errorf("%+v, want no lag and 25 parked", l)
		}
	})
}

// live runs one process's life: it ends at the crashing event, or when all is done.
func live(t *testing.T, j *journal) (crashed bool) {
	conn, err := deedmem.Open(t.Context(), "mem:crash", nil)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/test", Logger: quiet, Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	crash := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = bus.Run(ctx, deed.Subscribe("g", nil, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			select {
			case <-crash: // a dead process does nothing any more
				<-ctx.Done()
				return ctx.Err()
			default:
			}
			if e.Data.Key == "k3" && e.Data.N == 5 {
				once.Do(func() { close(crash) })
				<-ctx.Done()
				return ctx.Err()
			}
			j.add(e.Data)
			return nil
		})))
	}()
	select {
	case <-crash:
		crashed = true
		_ = conn.Close() // without release
	case <-time.After(time.Minute):
	}
	cancel()
	<-done
	_ = bus.Close()
	return crashed
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
	for _, want := range []string{`group name "bad name"`, "Parallel is -1", `two handlers for type "note.taken"`, "empty Handler"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %q", err, want)
		}
	}
}

func TestTypesWithoutHandlerArePassedOver(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(context.Context, deed.Received[note]) error { return nil })))
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
