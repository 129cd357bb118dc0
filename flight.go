package deed

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/deedgo/deed/driver"
)

// flight makes one engine call at a time, which keeps the order and its producer's
// sequence. Its fields are its goroutine's.
type flight struct {
	*publisher
	producer string
	next     map[seqKey]int64
	// What follows is only kept for its memory.
	requests []*request
	all      []run
	runs     []*run
	batches  []driver.Batch
}

// loop flushes what is queued until close.
func (f *flight) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var held *request // taken from the queue, not fit for the flush before
	for {
		first := held
		if first == nil {
			select {
			case first = <-f.queue:
			case <-f.stop:
				return
			}
		}
		f.left.await()
		var batch []*request
		batch, held = f.gather(first)
		if len(batch) > 0 {
			f.traffic.takeOff()
			f.flush(ctx, batch)
			f.traffic.land()
		}
	}
}

// gather takes what is queued behind first, up to the bounds of a flush. Beside another
// flight it waits until that is worth one: many small calls are dearer than few.
func (f *flight) gather(first *request) (batch []*request, held *request) {
	batch = f.requests[:0]
	events, bytes := 0, 0
	for r := first; r != nil; r = f.another(events) {
		n, size := r.size()
		if len(batch) > 0 && (events+n > flushEvents || bytes+size > flushBytes || f.left.some()) {
			held = r
			break
		}
		batch = append(batch, r)
		events += n
		bytes += size
	}
	f.requests = batch
	return slices.DeleteFunc(batch, func(r *request) bool { return r.taken.Swap(true) }), held // callers gave up
}

// another returns the next request of a flush that has so many events, nil when it is to
// go.
func (f *flight) another(events int) *request {
	for {
		select {
		case r := <-f.queue:
			return r
		default:
		}
		landing := f.traffic.landing()
		if landing == nil || events >= flightEvents {
			return nil
		}
		select {
		case r := <-f.queue:
			return r
		case <-landing:
		}
	}
}

// traffic lets flights know of each other.
type traffic struct {
	mu     sync.Mutex
	flying int
	next   chan struct{} // closed at the next landing, nil when nobody waits for it
}

func (t *traffic) takeOff() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying++
}

func (t *traffic) land() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying--
	if t.next != nil {
		close(t.next)
		t.next = nil
	}
}

// landing returns what is closed when a flight lands, nil when there is none.
func (t *traffic) landing() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flying == 0 {
		return nil
	}
	if t.next == nil {
		t.next = make(chan struct{})
	}
	return t.next
}

// leftovers are requests in flight whose callers gave up. What these publish next may
// not overtake them in another flight.
type leftovers struct {
	n   atomic.Int32
	mu  sync.Mutex
	all []*request
}

func (l *leftovers) add(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
	l.n.Store(int32(len(l.all)))
}

func (l *leftovers) some() bool { return l.n.Load() > 0 }

// await returns when those that were there at its call have come down. Its caller has
// nothing in flight, and has taken nothing that another could wait for.
func (l *leftovers) await() {
	if !l.some() {
		return
	}
	l.mu.Lock()
	waiting := slices.Clone(l.all)
	l.mu.Unlock()
	for _, r := range waiting {
		<-r.done
		r.done <- struct{}{} // for others that wait
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(r *request) bool { return slices.Contains(waiting, r) })
	l.n.Store(int32(len(l.all)))
}
