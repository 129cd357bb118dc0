package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

func init() {
	testRoles["crasher"] = crasher
	testRoles["steady"] = steady
}

const fatalEvent = "k3/10"

// crasher ends its process whenever it meets one event.
func crasher(ctx context.Context, job Job) error {
	return member(ctx, job, deed.SubscribeOptions{}, func(ctx context.Context, e deed.Received[Fact]) error {
		if e.ID == fatalEvent {
			os.Exit(42)
		}
		return pause(ctx, 5*time.Millisecond)
	})
}

// steady handles every event in a few milliseconds.
func steady(ctx context.Context, job Job) error {
	return member(ctx, job, deed.SubscribeOptions{}, func(ctx context.Context, e deed.Received[Fact]) error {
		return pause(ctx, 2*time.Millisecond)
	})
}

// An event that ends its process time after time becomes a dead letter, its key
// waits behind it, and no other event is blamed for having been in flight.
func TestOnlyTheEventThatEndsItsProcessDies(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	facts := s.publish(20, keysNamed("k", 8)...)
	p := s.worker("crasher", "crasher", 500*time.Millisecond, nil)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ends := 0
	eventually(t, "the group has not drained", 3*time.Minute, func() bool {
		select {
		case <-p.Exited(): // a supervisor starts it again
			ends++
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		default:
		}
		return s.drained()
	})
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("the process ended %d times", ends)

	var others []Fact
	for _, f := range facts {
		if f.Key != "k3" || f.KV < 10 {
			others = append(others, f)
		}
	}
	s.wantHandled(others)
	s.wantOrder(facts)
	letters := s.letters()
	if len(letters) != 11 {
		t.Errorf("the side log has %d events, want the fatal one and the 10 behind it", len(letters))
	}
	for _, l := range letters {
		want := driver.Behind
		if l.Message.ID == fatalEvent {
			want = driver.Dead
		}
		if l.State != want || l.Key != "k3" {
			t.Errorf("%s is %s (%s %s), want %s", l.Message.ID, l.State, l.Reason, l.Error, want)
		}
		if l.State == driver.Dead && l.Reason != "crashed" {
			t.Errorf("%s died because %q, want crashed", l.Message.ID, l.Reason)
		}
	}
}

// Kills from outside, be they ever so many, are nobody's fault.
func TestTwentyKillsDeadLetterNothing(t *testing.T) {
	t.Parallel()
	const kills = 20
	s := newScene(t)
	facts := s.publish(60, keysNamed("k", 40)...)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	p := s.worker("steady", "steady", 500*time.Millisecond, nil)
	for life := range kills {
		proc := fmt.Sprintf("steady.%d", life+1)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		// Counted in events and not in time: on a slow machine the kills would all hit the
		// first event, which is the suspect that runs alone.
		after := 1 + r.IntN(60)
		eventually(t, "handlers are not called", time.Minute, func() bool {
			return len(s.recordedBy(proc, Deliver)) >= after
		})
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		p.Kill()
	}
	if _, events := s.lag(); events == 0 {
		t.Error("everything was handled before the last kill: the kills were too slow")
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	s.wantDrained(p)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, l := range s.letters() {
		t.Errorf("%s is %s: %s %s", l.Message.ID, l.State, l.Reason, l.Error)
	}
	s.wantHandled(facts)
	s.wantOrder(facts)
	t.Logf("%d events were delivered %d times", len(facts), len(s.recorded(Deliver)))
}
