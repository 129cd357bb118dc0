package torture

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
)

// dueFact says when it is due.
type dueFact struct {
	Key string
	Due int64 // in nanoseconds after the first of all
}

// DEED_TORTURE_DUE events, 5,000 unless set, all due within one second and accepted in
// another order, are handled in order of due time.
func TestManyDueInOneSecond(t *testing.T) {
	n := 5000
	if s := os.Getenv("DEED_TORTURE_DUE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("DEED_TORTURE_DUE: %v", err)
		}
	}
	for _, url := range []string{"mem:", "sqlite:" + t.TempDir() + "/bus.db"} {
		bus, err := engine.Open(t.Context(), url, &deed.Options{Source: "/torture", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(bus.Features().Engine, func(t *testing.T) {
			// Until all are accepted, none is to be due.
			ahead := 3*time.Second + time.Duration(n)*100*time.Microsecond
			for try := 0; !manyDue(t, bus, try, n, ahead); try++ {
				t.Logf("%d events are not accepted within %v", n, ahead)
				ahead *= 4
			}
			plainly(t, bus, n)
		})
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
}

// dueEvents are events of a topic that are due within a second, each at another time.
type dueEvents struct {
	topic *deed.Topic
	facts *deed.Type[dueFact]
	n     int
}

func newDueEvents(topic string, n int) *dueEvents {
	t := deed.NewTopic(topic, nil)
	return &dueEvents{t, deed.NewType(t, "due.fact", 1, func(f dueFact) string { return f.Key }), n}
}

// publish accepts all of them, in another order than they are due after first. When
// first is zero none is delayed.
func (d *dueEvents) publish(t *testing.T, bus *deed.Bus, first time.Time) {
	const keys, batch, publishers = 500, 500, 4
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for from := p * batch; from < d.n; from += publishers * batch {
				var drafts []deed.Draft
				for i := from; i < min(from+batch, d.n); i++ {
					slot := i * 7919 % d.n // once each, since 7919 is prime and n no multiple of it
					due := time.Duration(slot) * time.Second / time.Duration(d.n)
					draft := d.facts.New(dueFact{fmt.Sprint("k", slot%keys), int64(due)})
					if !first.IsZero() {
						draft.NotBefore = first.Add(due)
					}
					drafts = append(drafts, draft)
				}
				if err := bus.Publish(t.Context(), drafts...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
}

// plainly publishes and handles as many events that are not delayed, to compare with.
func plainly(t *testing.T, bus *deed.Bus, n int) {
	events := newDueEvents("plain", n)
	began, used := time.Now(), processorTime(t)
	var publishing sync.WaitGroup
	publishing.Go(func() { events.publish(t, bus, time.Time{}) })
	var count atomic.Int64
	all := make(chan struct{})
	handleAll(t, bus, events, all, func(context.Context, deed.Received[dueFact]) error {
		if count.Add(1) == int64(n) {
			close(all)
		}
		return nil
	})
	publishing.Wait()
	took := time.Since(began)
	t.Logf("%d events that are not delayed were published and handled within %v: %.0f a second, %v of processor time each",
		n, took, float64(n)/took.Seconds(), (processorTime(t)-used)/time.Duration(n))
}

// handleAll runs a group until all is closed.
func handleAll(
	t *testing.T, bus *deed.Bus, events *dueEvents, all <-chan struct{},
	handle func(context.Context, deed.Received[dueFact]) error,
) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- bus.Run(ctx, deed.Subscribe("g", nil, deed.On(events.facts, handle))) })
	defer running.Wait()
	select {
	case <-all:
	case <-time.After(10 * time.Minute):
		t.Error("not all were handled")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// manyDue reports whether all were accepted in time.
func manyDue(t *testing.T, bus *deed.Bus, try, n int, ahead time.Duration) bool {
	events := newDueEvents(fmt.Sprint("due-", try), n)
	began := time.Now()
	first := began.Add(ahead)
	events.publish(t, bus, first)
	accepted := time.Since(began)
	if accepted > ahead {
		return false
	}
	d := &dueOrder{t: t, want: int64(n), last: make(map[string]int64), all: make(chan struct{})}
	used := processorTime(t)
	handleAll(t, bus, events, d.all, d.handle)
	took := time.Since(first)
	t.Logf("%d events, accepted within %v and due within 1s, were handled within %v of the first's time: %.0f a second, "+
		"%v of processor time each", n, accepted, took, float64(n)/took.Seconds(),
		(processorTime(t)-used)/time.Duration(n))
	last := make(map[int]int64)
	for e, err := range bus.Read(t.Context(), events.topic.Name(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		f, err := events.facts.Decode(e.Event)
		if err != nil {
			t.Fatal(err)
		}
		p := partitionOf(e.Position)
		if f.Due < last[p] {
			t.Fatalf("what is due after %v is stored at %s, behind what is due after %v",
				time.Duration(f.Due), e.Position, time.Duration(last[p]))
		}
		last[p] = f.Due
	}
	return true
}

// dueOrder handles events and checks their order within each key.
type dueOrder struct {
	t     *testing.T
	want  int64
	count atomic.Int64
	all   chan struct{}
	mu    sync.Mutex
	last  map[string]int64
}

func (d *dueOrder) handle(_ context.Context, e deed.Received[dueFact]) error {
	d.mu.Lock()
	if e.Data.Due < d.last[e.Data.Key] {
		d.t.Errorf("of key %s what is due after %v came behind what is due after %v", e.Data.Key,
			time.Duration(e.Data.Due), time.Duration(d.last[e.Data.Key]))
	}
	d.last[e.Data.Key] = e.Data.Due
	d.mu.Unlock()
	if d.count.Add(1) == d.want {
		close(d.all)
	}
	return nil
}
