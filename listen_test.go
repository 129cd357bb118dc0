package deed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// said is a log that a test reads.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

// count returns how many lines hold all parts.
func (s *said) count(parts ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.buf.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

// openAir opens a bus on an ephemeral engine that logs to what it returns.
func openAir(t *testing.T, url string) (*deed.Bus, *said) {
	t.Helper()
	conn, err := deedmem.OpenPubSub(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	log := &said{}
	bus, err := deed.New(conn, &deed.Options{
		Source: "/test", Drain: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	return bus, log
}

func TestListenersEachHearEverythingWhileTheyListen(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, _ := openAir(t, "mem+pubsub:")
		publish(t, bus, note{"a", 0}) // nobody listens
		var early, late journal
		listener := func(j *journal) *deed.Subscription {
			return deed.Listen("l", nil, deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
				if e.Topic != "notes" || e.Attempt != 1 || e.Replay {
					t.Errorf("delivery %+v", e.Delivery)
				}
				j.add(e.Data)
				return nil
			}))
		}
		stop := start(t, bus, listener(&early))
		synctest.Wait()
		publish(t, bus, note{"a", 1}, note{"a", 2})
		start(t, bus, listener(&late)) // of the same name, and yet nothing is shared
		synctest.Wait()
		publish(t, bus, note{"a", 3})
		synctest.Wait()
		stop()
		publish(t, bus, note{"a", 4})
		synctest.Wait()
		if got := early.of("a"); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("the first heard %v, want what came while it listened", got)
		}
		if got := late.of("a"); !slices.Equal(got, []int{3, 4}) {
			t.Errorf("the second heard %v, want what came while it listened", got)
		}
	})
}

func TestWhatAListenerFailsIsGoneCountedAndLogged(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, log := openAir(t, "mem+pubsub:")
		var j journal
		stop := start(t, bus, deed.Listen("l", nil, deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
			j.add(e.Data)
			switch e.Data.N % 4 {
			case 1:
				return errors.New("no")
			case 2:
				return deed.RetryAfter(time.Second, errors.New("busy"))
			case 3:
				panic("at the disco")
			}
			return nil
		})))
		synctest.Wait()
		for n := range 40 { // of many keys, so that it would look like an outage
			publish(t, bus, note{fmt.Sprint(n), n})
		}
		time.Sleep(time.Hour)
		for n := range 40 {
			if got := j.of(fmt.Sprint(n)); !slices.Equal(got, []int{n}) {
				t.Errorf("event %d was handled %v, want once", n, got)
			}
		}
		if n := log.count("their handler failed", "listener=l", "topic=notes"); n < 1 || n > 2 {
			t.Errorf("%d lines about 30 failed events, want one now and one when the interval is over", n)
		}
		if log.count("in_all=30") != 1 {
			t.Errorf("the log does not count 30 events")
		}
		stop()
	})
}

func TestABatchThatAListenerFailsIsNotTriedAgain(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, log := openAir(t, "mem+pubsub:")
		var j journal
		calls := 0
		handler := deed.OnBatch(noted, 10, func(_ context.Context, es []deed.Received[note]) error {
			for _, e := range es {
				j.add(e.Data)
			}
			if calls++; calls == 1 {
				return errors.New("all of them")
			}
			return deed.BatchError{0: errors.New("the first")}
		})
		start(t, bus, deed.Listen("l", &deed.ListenOptions{Parallel: 1}, handler))
		synctest.Wait()
		publish(t, bus, note{"a", 1}, note{"a", 2}, note{"a", 3})
		synctest.Wait()
		publish(t, bus, note{"a", 4}, note{"a", 5})
		time.Sleep(time.Hour)
		if got := j.of("a"); !slices.Equal(got, upTo(5)) {
			t.Errorf("handled %v, want each once", got)
		}
		if log.count("in_all=4") != 1 {
			t.Errorf("three and one were lost, the log says something else")
		}
	})
}

func TestASlowListenerLosesTheOldestAndSaysSo(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, log := openAir(t, "mem+pubsub:")
		var j journal
		gate := make(chan struct{})
		slow := deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
			<-gate
			j.add(e.Data)
			return nil
		})
		start(t, bus, deed.Listen("l", &deed.ListenOptions{Parallel: 1}, slow))
		synctest.Wait()
		const published = 20_000
		for n := range published {
			publish(t, bus, note{"a", n})
		}
		time.Sleep(time.Minute)
		close(gate)
		time.Sleep(time.Minute)
		heard := j.of("a")
		if len(heard) == 0 || len(heard) > 8000 || heard[len(heard)-1] != published-1 || !slices.IsSorted(heard) {
			t.Fatalf("%d were heard, want a bounded number in order and the last one", len(heard))
		}
		if log.count("handlers are too slow", fmt.Sprintf("in_all=%d", published-len(heard))) != 1 {
			t.Errorf("the log does not count the %d lost", published-len(heard))
		}
		if n := log.count("handlers are too slow"); n > 10 {
			t.Errorf("%d lines in two minutes", n)
		}
	})
}

func TestListeningByPattern(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, _ := openAir(t, "mem+pubsub:")
		sensors := deed.NewPattern("sensors.*")
		reading := deed.NewType(sensors, "sensors.reading", 1, func(n note) string { return n.Key })
		var mu sync.Mutex
		var typed, any []string
		start(t, bus,
			deed.Listen("typed", nil, deed.On(reading, func(_ context.Context, e deed.Received[note]) error {
				mu.Lock()
				defer mu.Unlock()
				typed = append(typed, fmt.Sprint(e.Topic, e.Data.N))
				return nil
			})),
			deed.Listen("any", &deed.ListenOptions{Parallel: 1},
				deed.OnAny(deed.NewPattern("*.oven"), func(_ context.Context, e deed.Received[[]byte]) error {
					mu.Lock()
					defer mu.Unlock()
					any = append(any, e.Topic)
					return nil
				})))
		synctest.Wait()
		for i, topic := range []string{"sensors.hall", "sensors.kitchen.oven", "sensors.hall"} {
			err := bus.Publish(t.Context(), reading.New(note{topic, i}).To(deed.NewTopic(topic, nil)))
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		slices.Sort(typed)
		if want := []string{"sensors.hall0", "sensors.hall2", "sensors.kitchen.oven1"}; !slices.Equal(typed, want) {
			t.Errorf("heard %v, want %v", typed, want)
		}
		if want := []string{"sensors.kitchen.oven"}; !slices.Equal(any, want) {
			t.Errorf("heard %v, want %v", any, want)
		}
		for _, d := range []deed.Draft{reading.New(note{}), reading.New(note{}).To(deed.NewTopic("elsewhere", nil))} {
			if err := bus.Publish(t.Context(), d); err == nil || !strings.Contains(err.Error(), "Draft.To") {
				t.Errorf("publishing to a pattern: %v", err)
			}
		}
	})
}

func TestWhatAnEphemeralEngineCannotKeepIsRefused(t *testing.T) {
	ctx := t.Context()
	bus, _ := openAir(t, "mem+pubsub:")
	stores := openBus(t, "mem:")
	handle := func(context.Context, deed.Received[[]byte]) error { return nil }
	on := func(topic *deed.Topic) deed.Handler { return deed.OnAny(topic, handle) }
	run := func(b *deed.Bus, s *deed.Subscription) func() error { return func() error { return b.Run(ctx, s) } }
	publishOn := func(topic *deed.Topic) func() error {
		return func() error { return bus.Publish(ctx, deed.NewDraft(topic, deed.Event{Type: "x"})) }
	}
	for name, c := range map[string]struct {
		do   func() error
		want []string
	}{
		"a group": {run(bus, deed.Subscribe("g", nil, on(notes))),
			[]string{"group g", "topic notes", "mem+pubsub", "deed.Listen"}},
		"a listener, elsewhere": {run(stores, deed.Listen("l", nil, on(notes))),
			[]string{"listener l", "topic notes", "mem ", "deed.Subscribe"}},
		"a pattern of a group": {run(stores, deed.Subscribe("g", nil, on(deed.NewPattern("n*")))),
			[]string{"group g", "pattern n*", "mem ", "name each topic"}},
		"a pattern without star": {run(bus, deed.Listen("l", nil, on(deed.NewPattern("notes")))),
			[]string{"pattern notes", "NewTopic"}},
		"a bad pattern": {run(bus, deed.Listen("l", nil, on(deed.NewPattern("a[bc]*")))), []string{"a[bc]"}},
		"a topic and its pattern": {run(bus, deed.Listen("l", nil, on(notes), on(deed.NewPattern("not*")))),
			[]string{"notes and not*", "two subscriptions"}},
		"patterns that meet": {run(bus, deed.Listen("l", nil, on(deed.NewPattern("a*")), on(deed.NewPattern("*b")))),
			[]string{"a* and *b", "two subscriptions"}},
		"a window": {publishOn(deed.NewTopic("t", &deed.TopicOptions{Dedupe: time.Hour})),
			[]string{"topic t", "mem+pubsub", "Dedupe"}},
		"a bound": {publishOn(deed.NewTopic("t", &deed.TopicOptions{MaxBytes: 1})),
			[]string{"topic t", "mem+pubsub", "MaxBytes"}},
		"keep": {publishOn(deed.NewTopic("t", &deed.TopicOptions{Keep: 1})),
			[]string{"topic t", "mem+pubsub", "Keep"}},
		"hold": {publishOn(deed.NewTopic("t", &deed.TopicOptions{Hold: 1})),
			[]string{"topic t", "mem+pubsub", "Hold"}},
		"partitions": {publishOn(deed.NewTopic("t", &deed.TopicOptions{Partitions: 4})),
			[]string{"topic t", "mem+pubsub", "Partitions"}},
		"a delay": {func() error {
			d := noted.New(note{})
			d.NotBefore = time.Now().Add(time.Hour)
			return bus.Publish(ctx, d)
		}, []string{"notes", "mem+pubsub", "NotBefore"}},
		"durability": {func() error {
			conn, err := deedmem.OpenPubSub(ctx, "mem+pubsub:")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = deed.New(conn, &deed.Options{Durability: deed.Process})
			return err
		}, []string{"mem+pubsub", "Durability asks for process", "nothing is stored"}},
		"reading": {func() error {
			for _, err := range bus.Read(ctx, "notes", nil) {
				return err
			}
			return nil
		}, []string{"notes", "mem+pubsub"}},
		"a reset": {func() error { return bus.Reset(ctx, "g", "notes", deed.From{}, deed.ResetOptions{}) },
			[]string{"group g", "topic notes", "mem+pubsub"}},
		"waiting": {func() error { return bus.WaitFor(ctx, "g", "notes", "0-1") },
			[]string{"group g", "topic notes", "mem+pubsub"}},
	} {
		err := c.do()
		if err == nil {
			t.Errorf("%s is not refused", name)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v\ndoes not say %q", name, err, part)
			}
		}
	}
}

// flaky fails the first Publish in a way that leaves the outcome unknown.
type flaky struct {
	driver.Conn
	calls int
}

func (f *flaky) Publish(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
	if f.calls++; f.calls == 1 {
		return nil, errors.New("the connection broke")
	}
	return f.Conn.Publish(ctx, bs)
}

func TestWhatMayBeAnnouncedIsNotAnnouncedAgain(t *testing.T) {
	inner, err := deedmem.OpenPubSub(t.Context(), "mem+pubsub:")
	if err != nil {
		t.Fatal(err)
	}
	conn := &flaky{Conn: inner}
	bus, err := deed.New(conn, &deed.Options{Source: "/test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	err = bus.Publish(t.Context(), noted.New(note{}))
	var failed *deed.PublishError
	if !errors.As(err, &failed) || len(failed.Unknown) != 1 || conn.calls != 1 {
		t.Errorf("after %d calls: %v, want one call and one unknown event", conn.calls, err)
	}
}
