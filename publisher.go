package deed

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	publishQueue  = 1024    // Publish calls waiting for their turn; more of them block
	flushEvents   = 4096    // most events in one engine call
	flushBytes    = 8 << 20 // most data in one engine call, one Publish call above it goes alone
	publishTries  = 4       // engine calls for one flush before the callers are told
	publishPause  = 50 * time.Millisecond
	publishFactor = 4 // pauses of 50, 200 and 800 ms
)

// publisher gathers concurrent Publish calls into engine calls: while one is in
// flight the next fills, so one call alone waits for nothing and load makes
// batches. One engine call at a time keeps the order and the producer's sequence.
type publisher struct {
	bus    *Bus
	spread atomic.Uint64 // deals events without order over the partitions
	unused sync.Pool     // of requests
	rooms  rooms
	queue  chan *request
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once

	// Owned by the flushing goroutine.
	producer string
	next     map[seqKey]int64
	// What follows is only kept for its memory.
	requests []*request
	all      []run
	runs     []*run
	batches  []driver.Batch
}

// seqKey is what has a sequence: a topic that is made anew begins with 1.
type seqKey struct {
	topic      string
	generation int
	partition  int
}

func newPublisher(b *Bus) *publisher {
	return &publisher{
		bus: b, queue: make(chan *request, publishQueue), stop: make(chan struct{}),
		producer: NewID(), next: make(map[seqKey]int64),
	}
}

// close refuses new calls and waits for the flush in flight.
func (p *publisher) close() {
	p.once.Do(func() {}) // a publisher that never started does not start any more
	close(p.stop)
	p.done.Wait()
}

// publish hands a request over, waits for the outcome and adds it to sum.
func (p *publisher) publish(ctx context.Context, r *request, sum *Receipt) error {
	p.once.Do(func() { p.done.Go(p.loop) })
	select {
	case p.queue <- r: // the usual case, at a fraction of the cost of the select below
	default:
		select {
		case p.queue <- r:
		case <-ctx.Done():
			return r.fail(ctx.Err(), false)
		case <-p.stop:
			return r.fail(driver.ErrClosed, false)
		}
	}
	select {
	case <-r.done:
		return p.outcome(r, sum)
	case <-ctx.Done():
		return r.fail(context.Cause(ctx), r.taken.Swap(true))
	case <-p.stop:
		if r.taken.Swap(true) { // in flight: close waits for the flush
			<-r.done
			return p.outcome(r, sum)
		}
		return r.fail(driver.ErrClosed, false)
	}
}

// fail reports every draft of r as not stored, or as unknown.
func (r *request) fail(err error, unknown bool) error {
	drafts := make([]int, len(r.place))
	for i := range drafts {
		drafts[i] = i
	}
	e := &PublishError{Topic: r.parts[0].info.Name, Err: err}
	if unknown {
		e.Unknown = drafts
	} else {
		e.NotStored = drafts
	}
	return e
}

// outcome adds the parts' receipts to sum and lets the request go.
func (p *publisher) outcome(r *request, sum *Receipt) error {
	defer p.release(r)
	var failed *PublishError
	for i := range r.parts {
		part := &r.parts[i]
		switch {
		case part.receipt.Err == nil:
			sum.add(part)
		case failed == nil:
			failed = &PublishError{Topic: part.info.Name, Err: part.receipt.Err}
		}
	}
	if failed == nil {
		return nil
	}
	for i, k := range r.place {
		switch err := r.parts[k].receipt.Err; {
		case err == nil:
		case surelyNotStored(err):
			failed.NotStored = append(failed.NotStored, i)
		default:
			failed.Unknown = append(failed.Unknown, i)
		}
	}
	return failed
}

func surelyNotStored(err error) bool {
	for _, s := range [...]error{
		driver.ErrNotStored, driver.ErrRefused, driver.ErrGap, driver.ErrClosed, driver.ErrNotFound, driver.ErrFull,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// loop flushes what is queued until close.
func (p *publisher) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var held *request // taken from the queue, too large for the flush before
	for {
		first := held
		if first == nil {
			select {
			case first = <-p.queue:
			case <-p.stop:
				return
			}
		}
		var batch []*request
		batch, held = p.gather(first)
		if len(batch) > 0 {
			p.flush(ctx, batch)
		}
	}
}

// gather takes what is queued behind first, up to the bounds of a flush.
func (p *publisher) gather(first *request) (batch []*request, held *request) {
	batch = p.requests[:0]
	defer func() { p.requests = batch }()
	events, bytes := 0, 0
	for r := first; ; {
		n, size := r.size()
		if len(batch) > 0 && (events+n > flushEvents || bytes+size > flushBytes) {
			return batch, r
		}
		if !r.taken.Swap(true) { // else its caller gave up
			batch = append(batch, r)
			events += n
			bytes += size
		}
		select {
		case r = <-p.queue:
		default:
			return batch, nil
		}
	}
}

func (r *request) size() (events, bytes int) {
	for i := range r.parts {
		bytes += r.parts[i].bytes
	}
	return len(r.place), bytes
}
