package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

func init() { testRoles["caller"] = caller }

var errDown = errors.New("the downstream is down")

// caller calls a downstream which is down while a file exists, and gives events
// three attempts within a fraction of a second.
func caller(ctx context.Context, job Job) error {
	opts := deed.SubscribeOptions{
		Retry: deed.Retry{Attempts: 3, Min: 50 * time.Millisecond, Max: 100 * time.Millisecond},
	}
	return member(ctx, job, opts, func(ctx context.Context, e deed.Received[Fact]) error {
		if _, err := os.Stat(job.Args["down"]); err == nil {
			return errDown
		}
		return nil
	})
}

// An outage is not a poison event: while most events fail, a partition pauses and
// tries one event now and then, and no attempt counts.
func TestAnOutageDeadLettersNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	down := s.dir + "/down"
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	facts := s.publish(3, keysNamed("k", 300)...) // some 40 keys a partition
	p := s.worker("caller", "caller", 2*time.Second, map[string]string{"down": down})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "not every partition paused", time.Minute, func() bool {
		paused := 0
		ls, _ := s.lag()
		for _, l := range ls {
			if strings.Contains(l.Status, errDown.Error()) {
				paused++
			}
		}
		return paused == 8
	})
	// Each partition probes a few more times, further and further apart: 1 s of a
	// loop that tries everything again would make thousands of calls.
	before := len(s.recorded(Deliver))
	eventually(t, "nothing probed", time.Minute, func() bool { return len(s.recorded(Deliver)) > before+8*3 })
	if n := len(s.recorded(Deliver)); n > len(facts) {
		t.Errorf("%d calls during the outage for %d events: the partitions do not pause", n, len(facts))
	}
	if letters := s.letters(); len(letters) > 0 {
		t.Errorf("the side log has %d events during the outage, the first %s: %s",
			len(letters), letters[0].State, letters[0].Error)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group has not drained", 2*time.Minute, s.drained)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, l := range s.letters() {
		t.Errorf("%s is %s: %s %s", l.Message.ID, l.State, l.Reason, l.Error)
	}
	s.wantHandled(facts)
	s.wantOrder(facts)
}

// The same with the default retry policy and an outage of two minutes, in virtual
// time.
func TestAnOutageOfTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, length = 400, 2 * time.Minute
		bus, err := engine.Open(t.Context(), "mem:", &deed.Options{Source: "/torture", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		began := time.Now()
		var calls, handled atomic.Int64
		group := deed.Subscribe(Plain, nil, deed.On(factType, func(context.Context, deed.Received[Fact]) error {
			calls.Add(1)
			if time.Since(began) < length {
				return errDown
			}
			handled.Add(1)
			return nil
		}))
		for i := range keys {
			if err := bus.Publish(t.Context(), factType.New(newFact(fmt.Sprintf("k%d", i), 1, false))); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- bus.Run(ctx, group) }()
		waitFor(t, length-time.Second)
		if n := calls.Load(); n == 0 || n > 2*keys {
			t.Errorf("%d calls in an outage of %v for %d keys", n, length, keys)
		}
		waitFor(t, 2*time.Minute)
		if n := handled.Load(); n != keys {
			t.Errorf("%d of %d events were handled after the outage", n, keys)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		admin, _ := driver.As[driver.Letters](bus.Conn())
		if letters, err := admin.List(t.Context(), driver.LetterFilter{}); err != nil || len(letters) > 0 {
			t.Errorf("the side log has %d events, %v", len(letters), err)
		}
	})
}

// waitFor lets virtual time pass.
func waitFor(t *testing.T, d time.Duration) {
	t.Helper()
	if err := pause(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}
