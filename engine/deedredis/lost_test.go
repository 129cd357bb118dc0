package deedredis

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// A server comes back without what it had acknowledged last. A member that remembers more
// can store nothing under its claim, and is given the partition anew, from where the
// server says.
func TestMemberOfAServerThatLostSomething(t *testing.T) {
	for name, what := range map[string]struct {
		lose func(x *lagScene)
		at   int // how many events the server still knows to be handled
	}{
		"the end of the log": {func(x *lagScene) { x.publish(5); x.receive(25) }, 5},
		"progress":           {func(x *lagScene) { x.settle(9) }, 5},
		"a parked event":     {func(x *lagScene) { x.must(x.park(6)) }, 5},
		"nothing":            {func(*lagScene) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "appendonly yes", "appendfsync always")
			x := newLagScene(t, s, "topic", 20)
			x.settle(5)
			mark := s.MarkAOF()
			what.lose(x)
			s.Kill()
			cut := s.CutAOF(mark)
			s.Restart()
			old := x.claim
			if what.at == 0 {
				x.must(x.trySettle(20))
				x.must(x.park(21))
				return
			}
			if cut == 0 {
				t.Fatal("nothing was lost, which proves nothing")
			}
			claim := x.granted()
			if claim.Epoch <= old.Epoch || claim.Position != x.got[what.at-1] {
				t.Errorf("granted anew with epoch %d from %s, want more than %d from %s",
					claim.Epoch, claim.Position, old.Epoch, x.got[what.at-1])
			}
			x.claim = old
			if err := x.trySettle(20); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("settling under the old claim: %v, want ErrFenced", err)
			}
			if err := x.park(7); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("parking under the old claim: %v, want ErrFenced", err)
			}
			x.claim = claim
			x.must(x.trySettle(20))
		})
	}
}

// What was done under a claim is lost before the member's reader has noticed.
func TestSettlingOnAServerThatLostSomething(t *testing.T) {
	for name, lose := range map[string]func(x *lagScene){
		"progress":       func(x *lagScene) { x.settle(9) },
		"a parked event": func(x *lagScene) { x.must(x.park(6)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "appendonly yes", "appendfsync always")
			x := newLagScene(t, s, "topic", 20)
			x.settle(5)
			mark := s.MarkAOF()
			lose(x)
			s.Kill()
			if s.CutAOF(mark) == 0 {
				t.Fatal("nothing was lost, which proves nothing")
			}
			s.Restart()
			if err := x.trySettle(20); !errors.Is(err, driver.ErrFenced) {
				t.Errorf("settled on: %v, want ErrFenced", err)
			}
			if err := x.park(7); name == "a parked event" && !errors.Is(err, driver.ErrFenced) {
				t.Errorf("parked on: %v, want ErrFenced", err)
			}
		})
	}
}

// A topic and a group that the server has lost are told from those that were deleted, also
// when somebody has made them anew meanwhile.
func TestLostIsNotDeleted(t *testing.T) {
	spec := driver.SubscribeSpec{Topic: "topic", Group: "group", Lease: time.Minute}
	create := func(x *lagScene) {
		_, err := x.c.CreateTopic(x.t.Context(), "topic", driver.TopicSettings{Partitions: 1})
		x.must(err)
	}
	for name, what := range map[string]struct {
		harm func(x *lagScene)
		lost bool
	}{
		"topic deleted": {func(x *lagScene) { x.must(x.c.DeleteTopic(x.t.Context(), "topic")) }, false},
		"topic deleted and made anew": {func(x *lagScene) {
			x.must(x.c.DeleteTopic(x.t.Context(), "topic"))
			create(x)
		}, false},
		"group deleted": {func(x *lagScene) {
			x.do("DEL", x.c.keys.seats("topic", "group")) // as if no member had a lease
			x.must(x.c.DeleteGroup(x.t.Context(), "group", "topic"))
		}, false},
		"all lost":                   {func(x *lagScene) { x.do("FLUSHALL") }, true},
		"all lost and made anew":     {func(x *lagScene) { x.do("FLUSHALL"); create(x) }, true},
		"group lost, with its topic": {func(x *lagScene) { x.do("DEL", x.c.keys.group("topic", "group")) }, true},
		"lost, and joined by others": {func(x *lagScene) {
			x.do("FLUSHALL")
			create(x)
			sub, err := x.c.Subscribe(x.t.Context(), spec)
			x.must(err)
			x.t.Cleanup(func() { sub.Close() })
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newLagScene(t, redistest.Start(t), "topic", 3)
			what.harm(x)
			x.c.keeper.Nudge()
			err := x.ends()
			if !errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrLost) != what.lost {
				t.Errorf("the member was told: %v, want ErrNotFound, and ErrLost: %v", err, what.lost)
			}
		})
	}
}

// ends receives until that fails for good.
func (x *lagScene) ends() error {
	x.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithTimeout(x.t.Context(), 100*time.Millisecond)
		_, err := x.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		cancel()
		if errors.Is(err, driver.ErrNotFound) {
			return err
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("nothing ended within a minute, the last error is %v", err)
		}
	}
}

// granted receives until the partition was lost and granted anew.
func (x *lagScene) granted() driver.Claim {
	x.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for lost := false; time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(x.t.Context(), time.Second)
		r, err := x.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		cancel()
		if err != nil {
			continue // the server was away
		}
		if lost = lost || slices.Contains(r.Lost, 0); lost && len(r.Granted) > 0 {
			return r.Granted[0]
		}
	}
	x.t.Fatal("the partition was not granted anew within a minute")
	return driver.Claim{}
}

func (x *lagScene) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// trySettle settles the first n events. A claim that is lost is ErrFenced.
func (x *lagScene) trySettle(n int) error {
	return x.retry(func() error {
		lost, err := x.sub.Settle(x.t.Context(), []driver.Settlement{{Epoch: x.claim.Epoch, Position: x.got[n-1]}})
		if len(lost) > 0 {
			return driver.ErrFenced
		}
		return err
	})
}

// park parks event n of those received.
func (x *lagScene) park(n int) error {
	d := driver.Delivery{Message: driver.Message{ID: "p", Source: "/lag", Type: "t", Version: 1}}
	d.Position = x.got[min(n, len(x.got))-1]
	letter := driver.Letter{Group: "group", Topic: x.info.Name, Delivery: d, State: driver.Dead}
	return x.retry(func() error {
		return x.c.Park(x.t.Context(), x.claim, []driver.Parked{{Letter: letter}})
	})
}

// retry calls again while the server is away.
func (x *lagScene) retry(do func() error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		err := do()
		if !errors.Is(err, driver.ErrAway) && !errors.Is(err, driver.ErrNotStored) || time.Now().After(deadline) {
			return err
		}
	}
}
