package deed_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

type note struct {
	Key string
	N   int
}

var (
	notes = deed.NewTopic("notes", nil)
	noted = deed.NewType(notes, "note.taken", 1, func(n note) string { return n.Key })
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// openBus opens a bus on a store that other buses of the test may share by name.
func openBus(t *testing.T, url string) *deed.Bus {
	t.Helper()
	return openBusWith(t, url, nil)
}

func openBusWith(t *testing.T, url string, wrap func(driver.Conn) driver.Conn) *deed.Bus {
	t.Helper()
	var conn driver.Conn
	conn, err := deedmem.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		conn = wrap(conn)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/test", Logger: quiet, Lease: time.Second, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return bus
}

// start runs subscriptions until the test ends or stop is called, which waits for
// a clean drain.
func start(t *testing.T, bus *deed.Bus, runners ...deed.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- bus.Run(ctx, runners...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, bus *deed.Bus, ns ...note) {
	t.Helper()
	drafts := make([]deed.Draft, len(ns))
	for i, n := range ns {
		drafts[i] = noted.New(n)
	}
	if err := bus.Publish(t.Context(), drafts...); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

// journal records what handlers saw.
type journal struct {
	mu   sync.Mutex
	seen []note
}

func (j *journal) add(n note) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen = append(j.seen, n)
}

func (j *journal) of(key string) []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ns []int
	for _, n := range j.seen {
		if n.Key == key {
			ns = append(ns, n.N)
		}
	}
	return ns
}

// lag sums a group's standing over all partitions.
func lag(t *testing.T, bus *deed.Bus, group string) (sum driver.PartitionLag) {
	t.Helper()
	groups, _ := driver.As[driver.Groups](bus.Conn())
	rows, err := groups.Lag(t.Context(), group, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		sum.Events += r.Events
		sum.Parked += r.Parked
		sum.Dead += r.Dead
		if r.Status != "" {
			sum.Status = r.Status
		}
	}
	return sum
}

func letters(t *testing.T, bus *deed.Bus, states ...driver.LetterState) []driver.Letter {
	t.Helper()
	admin, _ := driver.As[driver.Letters](bus.Conn())
	ls, err := admin.List(t.Context(), driver.LetterFilter{States: states})
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
