package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// script is an engine whose Publish calls fail as told, before or after they
// reached the store.
type script struct {
	driver.Conn
	mu    sync.Mutex
	fails []failure
	calls int
	gate  chan struct{} // when set, every call waits for it
}

type failure struct {
	err   error
	after bool   // the store has it all the same
	topic string // only the batches of this one fail, if it is set
}

func (s *script) Unwrap() driver.Conn { return s.Conn }

func (s *script) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	s.calls++
	var f failure
	if len(s.fails) > 0 {
		f, s.fails = s.fails[0], s.fails[1:]
	}
	s.mu.Unlock()
	if f.topic == "" && f.err != nil && !f.after {
		return nil, f.err
	}
	receipts, err := s.Conn.Publish(ctx, batches)
	if f.topic == "" && f.err != nil {
		return nil, f.err
	}
	for i := range batches {
		if batches[i].Topic == f.topic {
			receipts[i] = driver.Receipt{Err: f.err}
		}
	}
	return receipts, err
}

func scripted(t *testing.T, fails ...failure) (*deed.Bus, *script) {
	t.Helper()
	s := &script{fails: fails}
	bus := openBusWith(t, "mem:", func(c driver.Conn) driver.Conn {
		s.Conn = c
		return s
	})
	return bus, s
}

func stored(t *testing.T, bus *deed.Bus, topic string) []deed.Stored {
	t.Helper()
	var all []deed.Stored
	for s, err := range bus.Read(t.Context(), topic, nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestRetriesNeverStoreTwice(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		lost := errors.New("connection lost")
		bus, s := scripted(t, failure{err: lost, after: true}, failure{err: lost}, failure{err: lost, after: true})
		publish(t, bus, note{"a", 1}, note{"b", 1}, note{"a", 2})
		if s.calls != 4 {
			t.Errorf("%d engine calls, want 4", s.calls)
		}
		if got := stored(t, bus, "notes"); len(got) != 3 {
			t.Errorf("%d events stored, want 3", len(got))
		}
	})
}

func TestGivingUpTellsUnknownFromNotStored(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		lost := errors.New("connection lost")
		refused := fmt.Errorf("disk full: %w", driver.ErrNotStored)
		bus, _ := scripted(t,
			failure{err: lost}, failure{err: lost}, failure{err: lost}, failure{err: lost, after: true},
			failure{err: refused}, failure{err: refused}, failure{err: refused}, failure{err: refused})
		var e *deed.PublishError
		err := bus.Publish(t.Context(), noted.New(note{"a", 1}))
		if !errors.As(err, &e) || !slices.Equal(e.Unknown, []int{0}) {
			t.Errorf("a lost reply: %v", err)
		}
		err = bus.Publish(t.Context(), noted.New(note{"a", 2}))
		if !errors.As(err, &e) || !slices.Equal(e.NotStored, []int{0}) {
			t.Errorf("a full disk: %v", err)
		}
		publish(t, bus, note{"a", 3}) // a new producer goes on
		if got := stored(t, bus, "notes"); len(got) != 2 {
			t.Errorf("%d events stored, want the unknown one and the last", len(got))
		}
	})
}

// The numbers of an event that may be stored are never given to another one.
func TestNotStoredAtLastDoesNotSpeakForTheTriesBefore(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		lost := errors.New("connection lost")
		refused := fmt.Errorf("the server is starting: %w", driver.ErrNotStored)
		bus, _ := scripted(t,
			failure{err: lost, after: true}, failure{err: refused}, failure{err: refused}, failure{err: refused})
		var e *deed.PublishError
		err := bus.Publish(t.Context(), noted.New(note{"a", 1}))
		if !errors.As(err, &e) || !slices.Equal(e.Unknown, []int{0}) || !errors.Is(err, lost) {
			t.Errorf("got %v, want unknown: the first try has stored it", err)
		}
		publish(t, bus, note{"a", 2})
		if got := stored(t, bus, "notes"); len(got) != 2 {
			t.Errorf("%d events stored, want the unknown one and the acknowledged one", len(got))
		}
	})
}

// A batch that is stored under a producer which was given up in the same engine call
// says nothing of the sequence of the next one.
func TestGivingUpOneTopicLeavesTheOthers(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		lost := errors.New("connection lost")
		bus, _ := scripted(t, failure{}, failure{err: lost}, failure{err: lost}, failure{err: lost},
			failure{err: lost, topic: "broken"})
		broken := deed.NewTopic("broken", nil)
		publish(t, bus, note{"a", 1})
		err := bus.Publish(t.Context(), deed.NewDraft(broken, deed.Event{Type: "t", Key: "a"}), noted.New(note{"a", 2}))
		var e *deed.PublishError
		if !errors.As(err, &e) || len(e.Unknown) != 1 {
			t.Errorf("got %v, want one unknown", err)
		}
		publish(t, bus, note{"a", 3})
		if got := stored(t, bus, "notes"); len(got) != 3 {
			t.Errorf("%d events stored, want 3", len(got))
		}
	})
}

func TestConcurrentPublishesShareEngineCalls(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, s := scripted(t)
		publish(t, bus, note{"a", 0})
		s.gate = make(chan struct{})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := bus.Publish(t.Context(), noted.New(note{fmt.Sprint(i % 10), i})); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(s.gate)
		wg.Wait()
		if s.calls > 4 {
			t.Errorf("%d engine calls for 100 concurrent publishes, want a few", s.calls)
		}
		if got := stored(t, bus, "notes"); len(got) != 101 {
			t.Errorf("%d events stored, want 101", len(got))
		}
	})
}

func TestPublishHeedsItsContext(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, s := scripted(t)
		publish(t, bus, note{"a", 0})
		s.gate = make(chan struct{})
		inFlight := make(chan error, 1)
		go func() { inFlight <- bus.Publish(context.Background(), noted.New(note{"a", 1})) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var e *deed.PublishError
		err := bus.Publish(ctx, noted.New(note{"a", 2})) // waits behind the one in flight
		if !errors.As(err, &e) || len(e.NotStored) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want not stored", err)
		}
		close(s.gate)
		if err := <-inFlight; err != nil {
			t.Error(err)
		}
		if got := stored(t, bus, "notes"); len(got) != 2 {
			t.Errorf("%d events stored, want 2", len(got))
		}
	})
}

func TestPublishRefusesWhatItCannotKeep(t *testing.T) {
	bus := openBus(t, "mem:")
	anonymous, err := deed.New(bus.Conn(), &deed.Options{Logger: quiet, MaxEventBytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	badCodec := deed.NewType(notes, "bad", 1, func(func()) string { return "" })
	cases := []struct {
		name  string
		bus   *deed.Bus
		draft deed.Draft
		want  string
	}{
		{"no source", anonymous, noted.New(note{}), "set Options.Source"},
		{"too large", anonymous, deed.NewDraft(notes, deed.Event{Source: "/x", Type: "t", Data: make([]byte, 11)}),
			"raise Options.MaxEventBytes"},
		{"no type", bus, deed.NewDraft(notes, deed.Event{}), "attribute type is empty"},
		{"no topic", bus, deed.Draft{}, "no topic"},
		{"a bad topic name", bus, deed.NewDraft(deed.NewTopic("a b", nil), deed.Event{Type: "t"}), `topic name "a b"`},
		{"an extension's name", bus, deed.NewDraft(notes, deed.Event{Type: "t", Extensions: map[string]string{"A": ""}}),
			`extension "A"`},
		{"a key that is no text", bus, deed.NewDraft(notes, deed.Event{Type: "t", Key: "\xff"}), "not UTF-8"},
		{"a value that cannot be encoded", bus, badCodec.New(func() {}), "bad: encode: json"},
		{"other settings", bus,
			deed.NewDraft(deed.NewTopic("notes", &deed.TopicOptions{Partitions: 3}), deed.Event{Type: "t"}),
			"partitions is 16, this program declares 3"},
	}
	publish(t, bus, note{"a", 1})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.bus.Publish(t.Context(), c.draft)
			var e *deed.PublishError
			if !errors.As(err, &e) || len(e.NotStored) != 1 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if got := stored(t, bus, "notes"); len(got) != 1 {
		t.Errorf("%d events stored, want 1", len(got))
	}
}

func TestDedupeWindow(t *testing.T) {
	bus := openBus(t, "mem:")
	once := deed.NewTopic("once", &deed.TopicOptions{Dedupe: time.Hour})
	drafts := make([]deed.Draft, 3)
	for i := range drafts {
		drafts[i] = deed.NewDraft(once, deed.Event{ID: fmt.Sprint(i), Type: "t", Key: fmt.Sprint(i)})
	}
	if r, err := bus.PublishReceipt(t.Context(), drafts[:2]...); err != nil || r.Stored != 2 || r.Duplicates != 0 {
		t.Fatalf("first: %+v, %v", r, err)
	}
	if r, err := bus.PublishReceipt(t.Context(), drafts...); err != nil || r.Stored != 1 || r.Duplicates != 2 {
		t.Errorf("again with one more: %+v, %v", r, err)
	}
}

func TestNoCreate(t *testing.T) {
	shared := openBus(t, "mem:nocreate")
	bus, err := deed.New(shared.Conn(), &deed.Options{Source: "/x", NoCreate: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	err = bus.Publish(t.Context(), noted.New(note{"a", 1}))
	if !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), "deed topics create notes") {
		t.Errorf("got %v", err)
	}
}
