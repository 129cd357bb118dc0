package torture

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeNemesis notes what it is asked to do.
type fakeNemesis struct {
	mu    sync.Mutex
	log   []string
	fail  bool
	takes time.Duration
}

func (f *fakeNemesis) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, what)
}

func (f *fakeNemesis) did() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, ", ")
}

func (f *fakeNemesis) Describe() string { return "nothing" }

func (f *fakeNemesis) Start(target string) error {
	f.note("harm " + target)
	time.Sleep(f.takes)
	if f.fail {
		return errors.New("no harm done")
	}
	return nil
}

func (f *fakeNemesis) Stop(target string) error {
	f.note("heal " + target)
	return nil
}

func someFaults(n Nemesis) []Fault {
	return []Fault{
		{Name: "kill", Nemesis: n, Targets: []string{"a", "b"}, Weight: 2, Max: time.Second},
		{Name: "pause", Nemesis: n, Targets: []string{"a", "b", "c"}, Weight: 1, Min: time.Second, Max: 2 * time.Second},
	}
}

func TestAPlanFollowsFromItsSeed(t *testing.T) {
	faults := someFaults(&fakeNemesis{})
	plan := func(seed uint64) []Step { return Plan(seed, time.Minute, 500*time.Millisecond, faults) }
	if !slices.Equal(plan(1), plan(1)) {
		t.Error("one seed gave two schedules")
	}
	if slices.Equal(plan(1), plan(2)) {
		t.Error("two seeds gave one schedule")
	}
	kinds, until := map[string]int{}, map[string]time.Duration{}
	for _, s := range plan(1) {
		kinds[s.Fault]++
		if s.At < until[s.Target] {
			t.Errorf("%v begins before %v, when the last one on its target is over", s, until[s.Target])
		}
		until[s.Target] = s.At + s.For
	}
	if kinds["kill"] < 10 || kinds["pause"] < 5 {
		t.Errorf("a minute has %v", kinds)
	}
}

func TestACampaignHealsWhatItHarmed(t *testing.T) {
	steps := []Step{
		{At: 0, For: time.Hour, Fault: "kill", Target: "a"},
		{At: 50 * time.Millisecond, For: time.Millisecond, Fault: "kill", Target: "b"},
		{At: time.Hour, Fault: "kill", Target: "c"},
	}
	n := &fakeNemesis{}
	c := newCampaign(t, n)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := c.run(ctx, steps, func() error {
		if strings.Contains(n.did(), "heal b") {
			cancel(enough)
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("run returned %v", err)
	}
	if got, want := n.did(), "harm a, harm b, heal b, heal a"; got != want {
		t.Errorf("it did: %s; want: %s", got, want)
	}
}

// A target that takes long to harm or heal has its rest before the next step, and what
// comes too late then is left out.
func TestACampaignWaitsForSlowTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNemesis{takes: 300 * time.Millisecond}
		c := newCampaign(t, n)
		c.length = 700 * time.Millisecond
		var steps []Step
		for i := range 3 {
			at := time.Duration(i) * 200 * time.Millisecond
			steps = append(steps, Step{At: at, For: 100 * time.Millisecond, Fault: "kill", Target: "a"})
		}
		began := time.Now()
		if err := c.run(t.Context(), steps, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got, want := n.did(), "harm a, heal a, harm a, heal a"; got != want {
			t.Errorf("it did: %s; want: %s", got, want)
		}
		if took, want := time.Since(began), 900*time.Millisecond; took != want {
			t.Errorf("the second step was over after %v, want %v", took, want)
		}
	})
}

func TestACampaignEndsWhenANemesisFails(t *testing.T) {
	c := newCampaign(t, &fakeNemesis{fail: true})
	err := c.run(t.Context(), []Step{{Fault: "kill", Target: "a"}, {At: time.Hour, Fault: "kill", Target: "b"}},
		func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no harm done") {
		t.Errorf("run returned %v", err)
	}
}

func newCampaign(t *testing.T, n Nemesis) *campaign {
	rec, err := NewRecorder(t.TempDir(), "harness.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Close() })
	return &campaign{
		faults: map[string]Fault{"kill": {Nemesis: n}}, length: time.Hour, rec: rec, say: t.Logf, counts: map[string]int{},
	}
}
