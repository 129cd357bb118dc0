package torture

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
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
		})
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
}

// manyDue reports whether all were accepted in time.
func manyDue(t *testing.T, bus *deed.Bus, try, n int, ahead time.Duration) bool {
	dueTopic := deed.NewTopic(fmt.Sprint("due-", try), nil)
	dueType := deed.NewType(dueTopic, "due.fact", 1, func(f dueFact) string { return f.Key })
	const keys, batch, publishers = 500, 500, 4
	began := time.Now()
	first := began.Add(ahead)
	var publishing sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			for from := p * batch; from < n; from += publishers * batch {
				var drafts []deed.Draft
				for i := from; i < min(from+batch, n); i++ {
					slot := i * 7919 % n // once each, since 7919 is prime and n no multiple of it
					due := time.Duration(slot) * time.Second / time.Duration(n)
					d := dueType.New(dueFact{fmt.Sprint("k", slot%keys), int64(due)})
					d.NotBefore = first.Add(due)
					drafts = append(drafts, d)
				}
				if err := bus.Publish(t.Context(), drafts...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	accepted := time.Since(began)
	if accepted > ahead {
		return false
	}
	d := &dueOrder{t: t, want: int64(n), last: make(map[string]int64), all: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx, deed.Subscribe("g", nil, deed.On(dueType, d.handle))) }()
	select {
	case <-d.all:
	case <-time.After(10 * time.Minute):
		t.Errorf("%d of %d were handled", d.count.Load(), n)
	}
	took := time.Since(first)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	t.Logf("%d events, accepted within %v and due within 1s, were handled within %v of the first's time: %.0f a second",
		n, accepted, took, float64(n)/took.Seconds())
	last := make(map[int]int64)
	for e, err := range bus.Read(t.Context(), dueTopic.Name(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		f, err := dueType.Decode(e.Event)
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
