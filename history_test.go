package deed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// TestRandomHistories lets members join, leave and crash while events fail, die and
// are redriven, all at random, and checks what may never happen: that an event is
// skipped or overtaken. An event of a key may be handled for the first time only
// when the one before it has been.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) { newHistory(t, seed).run() })
	}
}

type history struct {
	t    *testing.T
	rand *rand.Rand
	url  string
	home *deed.Bus // keeps the store alive

	mu      sync.Mutex     // guards rand too
	last    map[string]int // newest event handled, by key
	healthy bool
	keys    int
	events  int
}

func newHistory(t *testing.T, seed uint64) *history {
	url := fmt.Sprint("mem:history", seed)
	return &history{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), url: url, home: openBus(t, url),
		last: make(map[string]int), keys: 5 + int(seed)%40,
	}
}

// pick returns a random number below n.
func (h *history) pick(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand.IntN(n)
}

func (h *history) run() {
	var members []*member
	for step := range 60 {
		h.publish(step)
		switch n := h.pick(10); {
		case len(members) == 0 || n < 2 && len(members) < 4:
			members = append(members, h.join())
		case n < 4:
			i := h.pick(len(members))
			members[i].end(h.pick(2) == 0)
			members = append(members[:i], members[i+1:]...)
		case n < 6:
			h.redrive()
		}
		time.Sleep(time.Duration(h.pick(3000)) * time.Millisecond)
	}
	h.mu.Lock()
	h.healthy = true
	h.mu.Unlock()
	members = append(members, h.join())
	for range 2 * h.events {
		h.redrive()
		time.Sleep(10 * time.Second)
		if l := lag(h.t, h.home, "g"); l.Events+l.Parked+l.Dead == 0 {
			break
		}
	}
	if l := lag(h.t, h.home, "g"); l.Events+l.Parked+l.Dead != 0 {
		h.t.Errorf("does not end: %+v", l)
	}
	for _, m := range members {
		m.end(false)
	}
	for k := range h.keys {
		if key := fmt.Sprint("k", k); h.last[key] != h.events {
			h.t.Errorf("key %s ended at %d of %d", key, h.last[key], h.events)
		}
	}
}

func (h *history) publish(step int) {
	for range h.pick(8) {
		h.events++
		for k := range h.keys {
			publish(h.t, h.home, note{fmt.Sprint("k", k), h.events})
		}
	}
}

func (h *history) redrive() {
	admin, _ := driver.As[driver.Letters](h.home.Conn())
	var ids []int64
	for _, l := range letters(h.t, h.home, driver.Dead) {
		ids = append(ids, l.ID)
	}
	if _, err := admin.Redrive(context.Background(), ids); err != nil {
		h.t.Error(err)
	}
}

// handle fails now and then, and checks the order when it does not.
func (h *history) handle(n note) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.healthy {
		switch r := h.rand.IntN(200); {
		case r < 10:
			return errors.New("not now")
		case r < 12:
			return deed.RetryAfter(time.Duration(h.rand.IntN(30))*time.Second, nil)
		case r == 12:
			return deed.Reject(errors.New("never"))
		case r == 13:
			panic("oops")
		}
	}
	switch last := h.last[n.Key]; {
	case n.N == last+1:
		h.last[n.Key] = n.N
	case n.N > last+1:
		h.t.Errorf("key %s: event %d was handled before %d", n.Key, n.N, last+1)
	}
	return nil
}

// member is one process's part.
type member struct {
	conn   *deedmem.Conn
	bus    *deed.Bus
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	dead   bool
}

func (h *history) join() *member {
	conn, err := deedmem.Open(context.Background(), h.url, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/test", Logger: quiet, Lease: time.Second})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{conn: conn, bus: bus, cancel: cancel, done: make(chan struct{})}
	opts := &deed.SubscribeOptions{Retry: deed.Retry{Attempts: 4}, Parallel: 1 + h.pick(8), MaxCrashes: 100}
	go func() {
		defer close(m.done)
		_ = bus.Run(ctx, deed.Subscribe("g", opts, deed.On(noted, func(ctx context.Context, e deed.Received[note]) error {
			time.Sleep(time.Duration(e.Data.N%7) * time.Millisecond)
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.dead { // a dead process does nothing any more
				return errors.New("dead")
			}
			return h.handle(e.Data)
		})))
	}()
	return m
}

// end stops the member, in the middle of its work or after a drain.
func (m *member) end(crash bool) {
	if crash {
		m.mu.Lock()
		m.dead = true
		m.mu.Unlock()
		_ = m.conn.Close()
	}
	m.cancel()
	<-m.done
	_ = m.bus.Close()
}
