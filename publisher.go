package deed

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	publishQueue  = 1024    // Publish calls waiting for their turn; more of them block
	flushEvents   = 4096    // most events in one engine call
	flushBytes    = 8 << 20 // most data in one engine call, one Publish call above it goes alone
	flightEvents  = 1024    // events that are worth an engine call beside another
	publishTries  = 4       // engine calls for one flush before the callers are told
	publishPause  = 50 * time.Millisecond
	publishFactor = 4 // pauses of 50, 200 and 800 ms
)

// publisher gathers concurrent Publish calls into engine calls: while one is in
// flight the next fills, so one call alone waits for nothing and load makes
// batches. An engine that gains by it has several in flight under load, see
// [driver.Features]; each is a flight's, with a producer of its own. A Publish call goes
// with one flight, so what it holds keeps its order; what is published after it has
// returned goes after it.
type publisher struct {
	bus     *Bus
	spread  atomic.Uint64 // deals events without order over the partitions
	unused  sync.Pool     // of requests
	rooms   rooms
	queue   chan *request
	left    leftovers
	traffic traffic
	stop    chan struct{}
	done    sync.WaitGroup
	once    sync.Once
}

// seqKey is what has a sequence: a topic that is made anew begins with 1.
type seqKey struct {
	topic      string
	generation int
	partition  int
}

func newPublisher(b *Bus) *publisher {
	return &publisher{bus: b, queue: make(chan *request, publishQueue), stop: make(chan struct{})}
}

// start lets the flights begin with the first Publish call.
func (p *publisher) start() {
	for range max(p.bus.features.Flights, 1) {
		f := &flight{publisher: p, producer: NewID(), next: make(map[seqKey]int64)}
		p.done.Go(f.loop)
	}
}

// close refuses new calls and waits for what is in flight.
func (p *publisher) close() {
	p.once.Do(func() {}) // a publisher that never started does not start any more
	close(p.stop)
	p.done.Wait()
}

// publish hands a request over, waits for the outcome and adds it to sum.
func (p *publisher) publish(ctx context.Context, r *request, sum *Receipt) error {
	p.once.Do(p.start)
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
		unknown := r.taken.Swap(true)
		if unknown {
			p.left.add(r)
		}
		return r.fail(context.Cause(ctx), unknown)
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
		case driver.NothingStored(err):
			failed.NotStored = append(failed.NotStored, i)
		default:
			failed.Unknown = append(failed.Unknown, i)
		}
	}
	return failed
}
