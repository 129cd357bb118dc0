package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/natstest"
)

var (
	trips  = deed.NewTopic("trips", &deed.TopicOptions{Partitions: 4, Dedupe: time.Hour})
	driven = deed.NewType(trips, "trips.driven", 1, func(o order) string { return o.ID })
)

// A cluster of three servers loses one after the other by kill -9, the leaders among them,
// while events are published and handled. Nothing that was acknowledged is lost, nothing is
// stored twice, and the order of each key holds: that is the class quorum.
func TestNATSCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := natstest.StartCluster(t, 3, "sync_interval: always")
	bus, err := engine.Open(t.Context(), c.URL()+"&replicas=3&timeout=3s", &deed.Options{
		Source: "/fleet", Lease: 2 * time.Second, Durability: driver.Quorum, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	f := &fleet{t: t, bus: bus, acked: map[string]int{}, handled: map[string]int{}}
	stop := f.start()
	defer stop()
	f.until("events are handled", func() bool { return f.done() > 100 })

	leader, _ := c.Leader("deed-log-trips")
	f.survive(c, leader)
	leader, _ = c.Leader("deed-groups-trips")
	f.survive(c, leader)
	leader, _ = c.Leader("deed-meta")
	f.survive(c, leader)
	_, others := c.Leader("deed-log-trips")
	f.survive(c, others[0])

	stop()
	f.wantAll()
	wantReplicas(t, c)
}

// wantReplicas checks that a topic which is on one server alone is not taken for one that
// survives the loss of it.
func wantReplicas(t *testing.T, c *natstest.Cluster) {
	t.Helper()
	alone, err := engine.OpenConn(t.Context(), c.URL()+"&prefix=alone", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if f := alone.Features(); f.Durability != driver.Power || !strings.Contains(f.Setting, "replicas=3") {
		t.Errorf("with one replica it keeps %v, %q", f.Durability, f.Setting)
	}
	again, err := engine.OpenConn(t.Context(), c.URL()+"&prefix=alone&replicas=3", nil)
	if err == nil {
		again.Close()
	}
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "nats stream edit alone-meta --replicas=3") {
		t.Errorf("what is on one server is opened for three with %v, want a refusal that says what to do", err)
	}
}

const (
	cars     = 8
	downtime = 100 // events that are acknowledged and handled while a server is away
)

// fleet publishes and handles.
type fleet struct {
	t   *testing.T
	bus *deed.Bus

	mu      sync.Mutex
	acked   map[string]int // last event of each key
	handled map[string]int
	repeats int
}

// start publishes the events of each key in order, and handles them, until what it returns
// is called. Then all have been handled.
func (f *fleet) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	run, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	group := deed.Subscribe("statistics", &deed.SubscribeOptions{
		Retry: deed.Retry{Attempts: deed.Forever},
	}, deed.On(driven, f.handle))
	go func() { ended <- f.bus.Run(run, group) }()
	var publishing sync.WaitGroup
	for car := range cars {
		publishing.Go(func() { f.publish(ctx, fmt.Sprint("car-", car)) })
	}
	return sync.OnceFunc(func() {
		cancel()
		publishing.Wait()
		f.until("all is handled", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			for key, n := range f.acked {
				if f.handled[key] < n {
					return false
				}
			}
			return true
		})
		end()
		if err := <-ended; err != nil {
			f.t.Errorf("Run: %v", err)
		}
	})
}

// publish publishes one event after the other, each until it is acknowledged.
func (f *fleet) publish(ctx context.Context, key string) {
	for n := 1; ctx.Err() == nil; n++ {
		d := driven.New(order{key, n})
		d.ID = fmt.Sprint(key, "/", n)
		for deadline := time.Now().Add(time.Minute); ; {
			err := f.bus.Publish(context.WithoutCancel(ctx), d)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				f.t.Errorf("%s cannot be published: %v", d.ID, err)
				return
			}
		}
		f.mu.Lock()
		f.acked[key] = n
		f.mu.Unlock()
	}
}

func (f *fleet) handle(_ context.Context, e deed.Received[order]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch last := f.handled[e.Data.ID]; {
	case e.Data.N == last+1:
		f.handled[e.Data.ID] = e.Data.N
	case e.Data.N <= last:
		f.repeats++
	default:
		f.t.Errorf("event %d of %s was handled after %d", e.Data.N, e.Data.ID, last)
	}
	return nil
}

// done is how many events were handled.
func (f *fleet) done() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, last := range f.handled {
		n += last
	}
	return n
}

func (f *fleet) until(what string, done func() bool) {
	f.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.t.Fatalf("not within 2 minutes: %s; acknowledged %v, handled %v", what, f.acked, f.handled)
		}
	}
}

// survive kills a server, wants events published and handled without it, and starts it again.
func (f *fleet) survive(c *natstest.Cluster, s *natstest.Server) {
	f.t.Helper()
	began, before := time.Now(), f.done()
	s.Kill()
	f.until("events are published and handled without "+s.Name(), func() bool { return f.done() >= before+downtime })
	f.t.Logf("%s was killed; %d more events were handled within %v", s.Name(), downtime, time.Since(began))
	s.Restart()
	for _, stream := range []string{"deed-log-trips", "deed-groups-trips", "deed-meta"} {
		c.Settled(stream)
	}
}

// wantAll reads the topic.
func (f *fleet) wantAll() {
	f.t.Helper()
	stored := map[string][]int{}
	for e, err := range f.bus.Read(f.t.Context(), trips.Name(), nil) {
		if err != nil {
			f.t.Fatal(err)
		}
		o, err := driven.Decode(e.Event)
		if err != nil {
			f.t.Fatal(err)
		}
		stored[o.ID] = append(stored[o.ID], o.N)
	}
	if len(f.acked) != cars {
		f.t.Errorf("only %v was acknowledged", f.acked)
	}
	total := 0
	for key, n := range f.acked {
		total += n
		want := make([]int, n)
		for i := range want {
			want[i] = i + 1
		}
		if !slices.Equal(stored[key], want) {
			f.t.Errorf("of %s %d events were acknowledged, and %v is stored", key, n, stored[key])
		}
	}
	f.t.Logf("%d events were acknowledged and are stored once, in order; %d were handled again", total, f.repeats)
}
