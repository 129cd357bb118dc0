package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// lettersTopic keeps events as briefly as can be.
var (
	lettersTopic = deed.NewTopic("letters", &deed.TopicOptions{Keep: time.Millisecond})
	lettersType  = deed.NewType(lettersTopic, "letters.fact", 1, func(f Fact) string { return f.Key })
)

// DEED_TORTURE_LETTERS dead letters, 1000 unless set, of as many keys are redriven at a
// rate, while more events of these keys are published, another group is reset and the
// topic is swept, all the time.
func TestRedriveAmidEverything(t *testing.T) {
	letters := 1000
	if s := os.Getenv("DEED_TORTURE_LETTERS"); s != "" {
		var err error
		if letters, err = strconv.Atoi(s); err != nil {
			t.Fatalf("DEED_TORTURE_LETTERS: %v", err)
		}
	}
	m := newMending(t, letters)
	m.publish(1, m.keys)
	began := time.Now()
	eventually(t, "not all events are dead", 10*time.Minute, func() bool {
		events, _, dead := m.lag()
		return events == 0 && dead == int64(letters)
	})
	t.Logf("%d events became dead letters within %v", letters, time.Since(began))

	m.mended.Store(true)
	rate := float64(letters) / 5
	began = time.Now()
	m.beside(func() {
		o := &deadletter.RedriveOptions{Rate: rate}
		n, err := deadletter.Redrive(t.Context(), m.bus, &deadletter.Filter{Group: "mending"}, o)
		if err != nil || n != letters {
			t.Errorf("redrove %d of %d: %v", n, letters, err)
		}
		took := time.Since(began)
		t.Logf("%d dead letters were redriven within %v at %.0f a second", n, took, rate)
		if least := 4 * time.Second; took < least {
			t.Errorf("the redrive took %v, at the rate it takes %v at least", took, least)
		}
	})
	eventually(t, "not everything is handled", 10*time.Minute, func() bool {
		events, parked, dead := m.lag()
		return events+parked+dead == 0
	})
	t.Logf("all was handled within %v", time.Since(began))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, key := range m.keys {
		want := int64(1)
		if i < len(m.busy) {
			want = m.versions
		}
		if m.last[key] != want {
			t.Errorf("of key %s %d events were handled, want %d", key, m.last[key], want)
		}
	}
}

// mending is a bus with two groups: "mending" rejects everything until it is mended,
// "again" handles everything and is reset.
type mending struct {
	t        *testing.T
	bus      *deed.Bus
	keys     []string
	busy     []string // the keys of which more than one event is published
	versions int64    // of these
	mended   atomic.Bool

	mu   sync.Mutex
	last map[string]int64 // the version of the key's last event that was handled
}

func newMending(t *testing.T, letters int) *mending {
	quiet := slog.New(slog.DiscardHandler) // one line a dead letter is too much
	bus, err := engine.Open(t.Context(), "sqlite:"+t.TempDir()+"/bus.db", &deed.Options{Source: "/torture", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	keys := keysNamed("k", letters)
	m := &mending{
		t: t, bus: bus, keys: keys, busy: keys[:min(letters, 50)], versions: 1, last: make(map[string]int64),
	}
	again := func(context.Context, deed.Received[Fact]) error { return nil }
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- bus.Run(ctx, deed.Subscribe("mending", nil, deed.On(lettersType, m.handle)),
			deed.Subscribe("again", nil, deed.On(lettersType, again)))
	}()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, bus.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// handle fails the test when an event comes before the one before it. Repeated ones
// may come at any time.
func (m *mending) handle(_ context.Context, e deed.Received[Fact]) error {
	if !m.mended.Load() {
		return deed.Reject(errors.New("not yet"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := e.Data
	if f.KV > m.last[f.Key]+1 {
		m.t.Errorf("%s was handled after number %d of its key", f.id(), m.last[f.Key])
	}
	m.last[f.Key] = max(m.last[f.Key], f.KV)
	return nil
}

// publish announces one event of each key.
func (m *mending) publish(version int64, keys []string) {
	for some := range slices.Chunk(keys, 250) {
		drafts := make([]deed.Draft, len(some))
		for i, key := range some {
			drafts[i] = lettersType.New(newFact(key, version, false))
		}
		if err := m.bus.Publish(m.t.Context(), drafts...); err != nil {
			m.t.Error(err)
		}
	}
}

// lag returns what group "mending" has before it.
func (m *mending) lag() (events, parked, dead int64) {
	groups, _ := driver.As[driver.Groups](m.bus.Conn())
	lags, err := groups.Lag(m.t.Context(), "mending", lettersTopic.Name())
	if errors.Is(err, driver.ErrNotFound) || len(lags) == 0 {
		return 0, 0, 0 // it has not joined yet
	}
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range lags {
		events, parked, dead = events+l.Events, parked+l.Parked, dead+l.Dead
	}
	return events, parked, dead
}

// beside does something, and everything else meanwhile.
func (m *mending) beside(something func()) {
	ctx, stop := context.WithCancel(m.t.Context())
	var others sync.WaitGroup
	resets, swept := 0, int64(0)
	others.Go(func() {
		for pause(ctx, time.Second) == nil {
			o := deed.ResetOptions{Effects: true, Fence: true}
			if err := m.bus.Reset(m.t.Context(), "again", lettersTopic.Name(), deed.From{}, o); err != nil {
				m.t.Error(err)
			}
			resets++
		}
	})
	others.Go(func() {
		sweeper, _ := driver.As[driver.Sweeper](m.bus.Conn())
		for pause(ctx, 20*time.Millisecond) == nil {
			n, err := sweeper.Sweep(m.t.Context(), lettersTopic.Name())
			if err != nil {
				m.t.Error(err)
			}
			swept += n
		}
	})
	others.Go(func() {
		for pause(ctx, 100*time.Millisecond) == nil {
			m.versions++
			m.publish(m.versions, m.busy)
		}
	})
	something()
	stop()
	others.Wait()
	did := fmt.Sprintf("%d resets, %d removed events, %d events published beside",
		resets, swept, (m.versions-1)*int64(len(m.busy)))
	if m.t.Log(did); resets == 0 || swept == 0 || m.versions == 1 {
		m.t.Errorf("%s: that proves nothing", did)
	}
}
