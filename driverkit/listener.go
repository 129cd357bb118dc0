package driverkit

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// Room bounds what a [Listener] keeps until it is fetched. The latest event is kept
// whatever its size.
type Room struct {
	Events int
	Bytes  int // of data and attributes
}

// Listener is a subscription on an ephemeral engine, which pushes events whether or
// not anybody fetches them: they wait in memory, and when there is no room the oldest
// go and are counted. Its methods are safe for concurrent use.
type Listener struct {
	spec driver.SubscribeSpec
	room Room
	read func(*driver.Delivery)
	wake chan struct{} // has room for one, sent to when a waiting Receive should look
	end  func()        // of the engine's part, called once

	mu      sync.Mutex
	waiting []driver.Delivery // from first on
	first   int
	bytes   int
	last    int64 // number of events pushed
	missed  driver.Missed
	granted bool
	closed  bool
}

var _ driver.Subscription = (*Listener)(nil)

// NewListener returns a subscription. Close calls end once, which stops the pushing.
// Read, if not nil, completes an event that is fetched, so that those which go by cost
// little; until then its Data is what it takes to do so.
func NewListener(spec driver.SubscribeSpec, room Room, read func(*driver.Delivery), end func()) *Listener {
	return &Listener{spec: spec, room: room, read: read, wake: make(chan struct{}, 1), end: end}
}

// Push hands an event over, whose data belongs to the listener from then on. It never
// waits.
func (l *Listener) Push(d driver.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.last++
	d.Partition, d.Position = 0, strconv.FormatInt(l.last, 10)
	l.waiting = append(l.waiting, d)
	l.bytes += weight(&d)
	for n := len(l.waiting) - l.first; n > 1 && (n > l.room.Events || l.bytes > l.room.Bytes); n-- {
		l.pop()
		l.missed.Events++
	}
	l.notify()
}

// Deaf says that nothing is pushed any more, and why; Back that it is again.
func (l *Listener) Deaf(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed.Deaf = why
	l.notify()
}

// Back says that events are pushed again, and how long they were not.
func (l *Listener) Back(after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed.Back += after
	l.notify()
}

// pop removes the oldest event. The caller holds l.mu, as for all below.
func (l *Listener) pop() driver.Delivery {
	d := l.waiting[l.first]
	l.waiting[l.first] = driver.Delivery{}
	l.first++
	l.bytes -= weight(&d)
	if l.first*2 >= len(l.waiting) { // each event is moved about once
		n := copy(l.waiting, l.waiting[l.first:])
		clear(l.waiting[n:])
		l.waiting, l.first = l.waiting[:n], 0
	}
	return d
}

func weight(d *driver.Delivery) int {
	n := len(d.Data) + len(d.ID) + len(d.Source) + len(d.Type) + len(d.Key) + len(d.ContentType) + len(d.Topic)
	for name, value := range d.Attributes {
		n += len(name) + len(value)
	}
	return n
}

func (l *Listener) notify() {
	select {
	case l.wake <- struct{}{}:
	default: // one is enough: Receive looks at everything
	}
}

// Receive implements [driver.Subscription].
func (l *Listener) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		if err := ctx.Err(); err != nil {
			return driver.Received{}, err
		}
		got, any, err := l.take(f)
		if err != nil {
			return got, err
		}
		if any {
			for i := range got.Deliveries {
				if l.read != nil {
					l.read(&got.Deliveries[i])
				}
			}
			return got, nil
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
		}
	}
}

// take returns what there is now, and whether that is anything.
func (l *Listener) take(f driver.Fetch) (got driver.Received, any bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return got, false, l.over()
	}
	if !l.granted {
		l.granted = true
		got.Granted = []driver.Claim{{Group: l.spec.Group, Topic: l.spec.Topic, Epoch: 1}}
	}
	got.Missed, l.missed = l.missed, driver.Missed{}
	if len(f.Full) == 0 {
		for bytes := 0; l.first < len(l.waiting) && len(got.Deliveries) < f.Events; {
			bytes += len(l.waiting[l.first].Data)
			if bytes > f.Bytes && len(got.Deliveries) > 0 {
				break
			}
			got.Deliveries = append(got.Deliveries, l.pop())
		}
	}
	return got, len(got.Granted)+len(got.Deliveries) > 0 || got.Missed != (driver.Missed{}), nil
}

// Settle implements [driver.Subscription]: there is nothing to store.
func (l *Listener) Settle(ctx context.Context, _ []driver.Settlement) ([]int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, l.over()
	}
	return nil, ctx.Err()
}

func (l *Listener) over() error {
	return fmt.Errorf("listener %s on %s: %w", l.spec.Group, l.spec.Topic, driver.ErrClosed)
}

// Close implements [driver.Subscription].
func (l *Listener) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.waiting, l.first, l.bytes = nil, 0, 0
	l.notify()
	l.mu.Unlock()
	if !closed {
		l.end()
	}
	return nil
}
