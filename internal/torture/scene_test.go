package torture

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// scene is a bus of its own on which a test lets worker processes act.
type scene struct {
	t   *testing.T
	dir string
	url string
	bus *deed.Bus
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir := t.TempDir()
	return newSceneOn(t, dir, "sqlite:"+filepath.Join(dir, "bus.db"))
}

// newSceneOn is newScene on a bus that the test names.
func newSceneOn(t *testing.T, dir, url string) *scene {
	t.Helper()
	s := &scene{t: t, dir: dir, url: url}
	bus, err := engine.Open(t.Context(), url, &deed.Options{Source: "/torture"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	s.bus = bus
	return s
}

// worker prepares a member of group Plain; it is killed when the test ends.
func (s *scene) worker(role, name string, lease time.Duration, args map[string]string) *Process {
	return spawn(s.t, Job{Role: role, Name: name, Dir: s.dir, URL: s.url, Lease: lease, Args: args})
}

// publish announces the next n events of each key, the keys taking turns.
func (s *scene) publish(n int, keys ...string) []Fact {
	s.t.Helper()
	var facts []Fact
	for kv := range n {
		for _, key := range keys {
			facts = append(facts, newFact(key, int64(kv+1), false))
		}
	}
	for some := range slices.Chunk(facts, 100) {
		drafts := make([]deed.Draft, len(some))
		for i, f := range some {
			drafts[i] = factTypeOn(s.bus).New(f)
			drafts[i].ID = f.id()
		}
		if err := s.bus.Publish(s.t.Context(), drafts...); err != nil {
			s.t.Fatal(err)
		}
	}
	return facts
}

// keysNamed makes n names.
func keysNamed(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return keys
}

// recorded returns what the workers have recorded so far, in order of time.
func (s *scene) recorded(do Do) []Op {
	s.t.Helper()
	return s.recordedBy("*", do)
}

// recordedBy is recorded for the processes whose names match.
func (s *scene) recordedBy(proc string, do Do) []Op {
	s.t.Helper()
	ops, err := ReadOps(s.dir, proc)
	if err != nil {
		s.t.Fatal(err)
	}
	ops = slices.DeleteFunc(ops, func(op Op) bool { return op.Do != do })
	slices.SortFunc(ops, func(a, b Op) int { return cmp.Compare(a.Time, b.Time) })
	return ops
}

// letters returns group Plain's side log.
func (s *scene) letters() []driver.Letter {
	s.t.Helper()
	admin, ok := driver.As[driver.Letters](s.bus.Conn())
	if !ok {
		s.t.Fatal("the engine has no letters")
	}
	letters, err := admin.List(s.t.Context(), driver.LetterFilter{Group: Plain, Limit: 10_000})
	if err != nil {
		s.t.Fatal(err)
	}
	return letters
}

// lag returns where group Plain stands.
func (s *scene) lag() (ls []driver.PartitionLag, events int64) {
	s.t.Helper()
	groups, ok := driver.As[driver.Groups](s.bus.Conn())
	if !ok {
		s.t.Fatal("the engine has no lag")
	}
	ls, err := groups.Lag(s.t.Context(), Plain, topic.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range ls {
		events += l.Events
	}
	return ls, events
}

// drained reports whether group Plain has nothing left that it could try.
func (s *scene) drained() bool {
	lags, events := s.lag()
	st := standing{lags: lags, letters: s.letters()}
	return len(lags) > 0 && events == 0 && !st.trying()
}

// wantDrained waits until the group has drained. If it does not, the test fails with where
// the partitions stand and what the goroutines of its member do.
func (s *scene) wantDrained(member *Process) {
	s.t.Helper()
	const patience = 3 * time.Minute
	for deadline := time.Now().Add(patience); !s.drained(); pause(s.t.Context(), 20*time.Millisecond) {
		if time.Now().Before(deadline) {
			continue
		}
		lags, _ := s.lag()
		over, cancel := context.WithCancel(s.t.Context())
		cancel()
		s.t.Fatalf("the group has not drained in %v: %+v\nletters: %+v\n%v", patience, lags, s.letters(), member.Stop(over))
	}
}

// wantHandled fails the test unless each of the facts was handled to its end.
func (s *scene) wantHandled(facts []Fact) {
	s.t.Helper()
	done := ids(s.recorded(Done))
	missing := 0
	for _, f := range facts {
		if !done[f.id()] {
			missing++
			s.t.Logf("%s was never handled", f.id())
		}
	}
	if missing > 0 {
		s.t.Errorf("%d of %d events were never handled", missing, len(facts))
	}
}

// wantOrder fails the test when an event was handled before the one before it in
// its key was done.
func (s *scene) wantOrder(facts []Fact) {
	s.t.Helper()
	ops, err := ReadOps(s.dir, "*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range facts {
		ops = append(ops, f.op(Stored))
	}
	for _, line := range startedEarly(NewHistory(ops)) {
		s.t.Error(line)
	}
}

// member runs group Plain with one handler until ctx ends.
func member(
	ctx context.Context, job Job, opts deed.SubscribeOptions, handle func(context.Context, deed.Received[Fact]) error,
) error {
	rec, err := NewRecorder(job.Dir, job.proc())
	if err != nil {
		return err
	}
	defer rec.Close()
	bus, err := openBus(ctx, job, rec)
	if err != nil {
		return err
	}
	defer bus.Close()
	c := &consuming{job: job, rec: rec}
	opts.Middleware = append(opts.Middleware, c.record)
	return bus.Run(ctx, deed.Subscribe(Plain, &opts, deed.On(factTypeOn(bus), handle)))
}
