package bridge_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/engine/deedmqtt"
)

var readings = deed.NewTopic("readings", &deed.TopicOptions{Dedupe: time.Hour})

func openBus(t *testing.T, url string) *deed.Bus {
	t.Helper()
	bus, err := engine.Open(t.Context(), url, &deed.Options{Source: "/test", Drain: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	return bus
}

func store(t *testing.T) *deed.Bus {
	t.Helper()
	return openBus(t, "sqlite:"+filepath.Join(t.TempDir(), "bus.db"))
}

// run runs something on a bus until stop, which returns how it ended.
func run(t *testing.T, bus *deed.Bus, what ...deed.Runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx, what...) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	return stop
}

// kept collects the events of a topic.
type kept struct {
	mu     sync.Mutex
	events []deed.Event
}

func (k *kept) all() []deed.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.events)
}

func collect(t *testing.T, bus *deed.Bus, topic *deed.Topic) *kept {
	t.Helper()
	k := &kept{}
	run(t, bus, deed.Subscribe("test", nil, deed.OnAny(topic, func(_ context.Context, e deed.Received[[]byte]) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.events = append(k.events, e.Event)
		return nil
	})))
	return k
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after a minute: %s", what)
		}
	}
}

func dial(t *testing.T, url string, o deedmqtt.SessionOptions) *deedmqtt.Session {
	t.Helper()
	c, err := deedmqtt.Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func announce(t *testing.T, s *deedmqtt.Session, topic string, ids ...string) {
	t.Helper()
	var as []deedmqtt.Announcement
	for _, id := range ids {
		m := driver.Message{ID: id, Source: "/device", Type: "reading", Version: 1, Data: []byte(id)}
		as = append(as, deedmqtt.Announcement{Topic: topic, Message: &m})
	}
	if errs := s.Publish(t.Context(), as); errs != nil {
		t.Fatal(errs)
	}
}

func numbers(from, to int) (ids []string) {
	for i := from; i <= to; i++ {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

func idsOf(events []deed.Event) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func topicBytes(t *testing.T, bus *deed.Bus, name string) int64 {
	t.Helper()
	topics, ok := driver.As[driver.Topics](bus.Conn())
	if !ok {
		t.Fatal("no topics")
	}
	info, err := topics.Topic(t.Context(), name)
	if err != nil {
		return 0
	}
	return info.Bytes
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
