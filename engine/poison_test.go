package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/kafkatest"
	"github.com/deedgo/deed/internal/natstest"
)

// One partition, so that whatever stops it stops all.
var (
	parcels = deed.NewTopic("parcels", &deed.TopicOptions{Partitions: 1})
	posted  = deed.NewType(parcels, "parcels.posted", 1, func(o order) string { return o.ID })
)

const (
	poisonKey = "poison"
	attempts  = 3
	others    = 10  // keys
	each      = 100 // events of each; with all of them the window is full
)

// Kafka has no place for an event that failed: it does not stop its partition.
func TestKafkaPoison(t *testing.T) {
	poison(t, kafkatest.Start(t).URL(), "sqlite:"+t.TempDir()+"/state.db")
}

// JetStream leaves an event that was tried too often where no consumer sees it: here it is
// never stranded.
func TestNATSPoison(t *testing.T) {
	t.Run("new", func(t *testing.T) { poison(t, natstest.Start(t).URL(), "") })
	t.Run("old", func(t *testing.T) { poison(t, natstest.StartOld(t).URL(), "") })
}

// poison publishes an event of which the handler always fails, before events of other keys
// and one of its own. It is tried as often as the group wants and no more, holds up nothing
// but its key, and ends as a dead letter that can be seen and given to its group again,
// also by a process that starts later.
func poison(t *testing.T, url, state string) {
	t.Helper()
	options := &deed.Options{
		Source: "/post", State: state, Lease: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	p := &post{t: t, open: func() *deed.Bus {
		bus, err := engine.Open(t.Context(), url, options)
		if err != nil {
			t.Fatal(err)
		}
		return bus
	}}
	p.start()
	drafts := []deed.Draft{posted.New(order{poisonKey, 1})}
	for n := range each {
		for k := range others {
			drafts = append(drafts, posted.New(order{fmt.Sprint("key-", k), n}))
		}
	}
	p.publish(append(drafts, posted.New(order{poisonKey, 2}))...)
	p.until("all events of other keys are handled", func() bool { return p.count("key-") == others*each })
	p.until("the partition is at its end", func() bool { return p.lag() == 0 })
	p.until("there is a dead letter", func() bool { return len(p.dead()) == 1 })
	if l := p.dead()[0]; l.Event.Key != poisonKey || l.Reason != "exhausted" || l.Attempts != attempts ||
		l.Error != errPoison.Error() {
		t.Errorf("the dead letter is %+v, want the poisoned one, exhausted after %d attempts", l, attempts)
	}
	if _, behind, err := deadletter.Show(t.Context(), p.bus, p.dead()[0].ID); err != nil || behind != 1 {
		t.Errorf("%d events wait behind it, %v; want the next one of its key", behind, err)
	}
	p.stop()

	p.start() // a later process
	p.publish(posted.New(order{"later", 1}))
	p.until("what comes later is handled", func() bool { return p.count("later") == 1 && p.lag() == 0 })
	if n := p.count(poisonKey); n != attempts || len(p.dead()) != 1 {
		t.Errorf("the poison was delivered %d times and is %d dead letters, want %d times and one",
			n, len(p.dead()), attempts)
	}
	p.mend()
	if n, err := deadletter.Redrive(t.Context(), p.bus, nil, nil); err != nil || n != 1 {
		t.Fatalf("%d were redriven, %v", n, err)
	}
	p.until("its key is free", func() bool { return p.count(poisonKey) == attempts+2 && len(p.dead()) == 0 })
	if got := p.of(poisonKey)[attempts:]; !slices.Equal(got, []int{1, 2}) {
		t.Errorf("of its key %v was handled, want 1 and 2", got)
	}
	p.stop()
}

var errPoison = errors.New("this one never succeeds")

// post is a service that is started and stopped.
type post struct {
	t    *testing.T
	open func() *deed.Bus
	bus  *deed.Bus
	stop func()

	mu     sync.Mutex
	mended bool
	seen   []order // in order of the calls
}

func (p *post) start() {
	p.bus = p.open()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	group := deed.Subscribe("delivery", &deed.SubscribeOptions{
		Retry: deed.Retry{Attempts: attempts, Min: 20 * time.Millisecond, Max: 50 * time.Millisecond},
	}, deed.On(posted, p.handle))
	go func() { done <- p.bus.Run(ctx, group) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, p.bus.Close()); err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(p.stop)
}

func (p *post) handle(_ context.Context, e deed.Received[order]) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, e.Data)
	if e.Data == (order{poisonKey, 1}) && !p.mended {
		return errPoison
	}
	return nil
}

func (p *post) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mended = true
}

func (p *post) publish(drafts ...deed.Draft) {
	p.t.Helper()
	if err := p.bus.Publish(p.t.Context(), drafts...); err != nil {
		p.t.Fatal(err)
	}
}

// of returns the events of a key, or of those that begin so, in order of the calls.
func (p *post) of(prefix string) (ns []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.seen {
		if len(o.ID) >= len(prefix) && o.ID[:len(prefix)] == prefix {
			ns = append(ns, o.N)
		}
	}
	return ns
}

func (p *post) count(prefix string) int { return len(p.of(prefix)) }

func (p *post) dead() (all []deadletter.Letter) {
	p.t.Helper()
	for l, err := range deadletter.List(p.t.Context(), p.bus, nil) {
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func (p *post) lag() (events int64) {
	p.t.Helper()
	groups, _ := driver.As[driver.Groups](p.bus.Conn())
	lags, err := groups.Lag(p.t.Context(), "delivery", parcels.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, l := range lags {
		events += l.Events
	}
	return events
}

func (p *post) until(what string, done func() bool) {
	p.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			p.t.Fatalf("not within a minute: %s; poison was delivered %d times, the others %d, lag %d, dead %d",
				what, p.count(poisonKey), p.count("key-"), p.lag(), len(p.dead()))
		}
	}
}
