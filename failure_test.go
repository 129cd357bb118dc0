package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

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
