package deed

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	calls  rooms         // for the messages of one Publish call
	runs   rooms         // for those of a flush
	queue  chan *request
	stop   chan struct{}
	done   sync.WaitGroup
	once   sync.Once

	// Owned by the flushing goroutine.
	producer string
	next     map[seqKey]int64
}

// seqKey is what has a sequence: a topic that is made anew begins with 1.
type seqKey struct {
	topic      string
	generation int
	partition  int
}

// request is one Publish call.
type request struct {
	parts []*part
	place []*part           // of each draft
	room  *[]driver.Message // where all messages are
	taken atomic.Bool       // by the flush, or by a caller who gave up first
	done  chan struct{}
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

// publish hands a request over and waits for the outcome.
func (p *publisher) publish(ctx context.Context, r *request) (Receipt, error) {
	p.once.Do(func() { p.done.Go(p.loop) })
	select {
	case p.queue <- r:
	case <-ctx.Done():
		return Receipt{}, r.fail(ctx.Err(), false)
	case <-p.stop:
		return Receipt{}, r.fail(driver.ErrClosed, false)
	}
	select {
	case <-r.done:
		p.calls.giveBack(r.room)
		return r.outcome()
	case <-ctx.Done():
		return Receipt{}, r.fail(context.Cause(ctx), r.taken.Swap(true))
	case <-p.stop:
		if r.taken.Swap(true) { // in flight: close waits for the flush
			<-r.done
			return r.outcome()
		}
		return Receipt{}, r.fail(driver.ErrClosed, false)
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

// outcome adds the parts' receipts up.
func (r *request) outcome() (Receipt, error) {
	var sum Receipt
	var failed *PublishError
	for _, p := range r.parts {
		switch {
		case p.receipt.Err == nil:
			sum.Stored += p.receipt.Stored
			sum.Duplicates += p.count - p.receipt.Stored
			if p.receipt.Last != "" {
				sum.last = append(sum.last, reached{p.info.Name, p.partition, p.receipt.Last})
			}
		case failed == nil:
			failed = &PublishError{Topic: p.info.Name, Err: p.receipt.Err}
		}
	}
	if failed == nil {
		return sum, nil
	}
	for i, p := range r.place {
		switch {
		case p.receipt.Err == nil:
		case surelyNotStored(p.receipt.Err):
			failed.NotStored = append(failed.NotStored, i)
		default:
			failed.Unknown = append(failed.Unknown, i)
		}
	}
	return sum, failed
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
	for _, p := range r.parts {
		bytes += p.bytes
	}
	return len(r.place), bytes
}

// flush publishes a batch of requests and tells their callers.
func (p *publisher) flush(ctx context.Context, requests []*request) {
	var parts []*part
	messages := 0
	for _, r := range requests {
		parts = append(parts, r.parts...)
		messages += len(r.place)
	}
	room := p.runs.borrow(messages)
	p.send(ctx, merge(parts, *room))
	p.runs.giveBack(room)
	for _, r := range requests {
		close(r.done)
	}
}

// run is a batch on its way to the engine, with the parts that it is made of.
type run struct {
	parts   []*part
	batch   driver.Batch
	count   int  // of messages
	restamp bool // nothing of it was stored, and what went before it never will be
}

func (r *run) at() seqKey { return seqKey{r.batch.Topic, r.batch.Generation, r.batch.Partition} }

// merge joins parts of the same partition, so that an engine sees one batch for
// it; room takes their messages. Parts of topics with a dedupe window stay apart:
// each caller is told how many of its own were duplicates.
func merge(parts []*part, room []driver.Message) []*run {
	runs := make([]*run, 0, len(parts))
	open := make(map[seqKey]*run, len(parts))
	for _, p := range parts {
		at := seqKey{p.info.Name, p.info.Generation, p.partition}
		r := open[at]
		if r == nil || p.info.Dedupe > 0 {
			r = &run{batch: driver.Batch{Topic: p.info.Name, Generation: p.info.Generation, Partition: p.partition}}
			open[at] = r
			runs = append(runs, r)
		}
		r.parts = append(r.parts, p)
		r.count += p.count
	}
	for _, r := range runs {
		if len(r.parts) == 1 {
			r.batch.Messages = r.parts[0].messages
			continue
		}
		r.batch.Messages, room = room[:0:r.count], room[r.count:]
		for _, p := range r.parts {
			r.batch.Messages = append(r.batch.Messages, p.messages...)
		}
	}
	return runs
}

// send publishes runs, trying again those whose failure may pass. A repeated run
// carries the same stamps, so nothing is stored twice.
func (p *publisher) send(ctx context.Context, runs []*run) {
	for _, r := range runs {
		r.restamp = true
	}
	pause := publishPause
	for try := 1; len(runs) > 0; try++ {
		p.stamp(runs)
		runs = p.try(ctx, runs, try == publishTries)
		if len(runs) == 0 {
			return
		}
		select {
		case <-time.After(pause):
			pause *= publishFactor
		case <-p.stop:
			p.try(ctx, runs, true)
			return
		}
	}
}

// stamp numbers the runs that need it, each partition's where the one before ends.
func (p *publisher) stamp(runs []*run) {
	if !p.bus.features.Sequence {
		return
	}
	next := make(map[seqKey]int64, len(runs))
	for _, r := range runs {
		if r.restamp {
			r.batch.Producer, r.batch.Seq = p.producer, max(p.next[r.at()], next[r.at()], 1)
			r.restamp = false
		}
		next[r.at()] = r.batch.Seq + int64(len(r.batch.Messages))
	}
}

// try makes one engine call and returns the runs to try again, none at the last.
func (p *publisher) try(ctx context.Context, runs []*run, last bool) (again []*run) {
	batches := make([]driver.Batch, len(runs))
	for i, r := range runs {
		batches[i] = r.batch
	}
	receipts, err := p.bus.conn.Publish(ctx, batches)
	failed := make(map[seqKey]bool)
	for i, r := range runs {
		var receipt driver.Receipt
		if receipt.Err = err; err == nil {
			receipt = receipts[i]
		}
		if failed[r.at()] && errors.Is(receipt.Err, driver.ErrGap) {
			// The gap is the failed run before this one, not a loss.
			receipt.Err = fmt.Errorf("%w: what goes before it failed", driver.ErrNotStored)
			r.restamp = true
		}
		if receipt.Err != nil {
			failed[r.at()] = true
			full := errors.Is(receipt.Err, driver.ErrFull) && p.bus.makeRoom(ctx, r.batch.Topic)
			if !last && (full || mayPass(receipt.Err)) {
				again = append(again, r)
				continue
			}
		}
		p.settle(ctx, r, receipt)
	}
	return again
}

// mayPass reports whether trying again can help.
func mayPass(err error) bool {
	for _, s := range [...]error{
		driver.ErrRefused, driver.ErrGap, driver.ErrClosed, driver.ErrNotFound, driver.ErrFull,
	} {
		if errors.Is(err, s) {
			return false
		}
	}
	return true
}

// settle tells the run's parts what became of them and moves the sequence.
func (p *publisher) settle(ctx context.Context, r *run, receipt driver.Receipt) {
	at := r.at()
	receipt.Err = p.bus.gone(ctx, r.batch.Topic, r.batch.Generation, receipt.Err)
	switch {
	case receipt.Err == nil:
		p.next[at] = max(p.next[at], r.batch.Seq+int64(len(r.batch.Messages)))
	case errors.Is(receipt.Err, driver.ErrNotFound):
		maps.DeleteFunc(p.next, func(k seqKey, _ int64) bool { return k.topic == at.topic && k.generation == at.generation })
	case errors.Is(receipt.Err, driver.ErrGap):
		p.bus.log.Error("deed: the engine lost events that it had acknowledged",
			"topic", r.batch.Topic, "partition", r.batch.Partition, "producer", r.batch.Producer, "seq", r.batch.Seq)
		p.renew()
	case !surelyNotStored(receipt.Err):
		p.renew() // the outcome is unknown, so the sequence cannot go on
	}
	for _, part := range r.parts {
		part.receipt = receipt
		part.receipt.Stored = part.count
		if len(r.parts) == 1 && part.info.Dedupe > 0 {
			part.receipt.Stored = receipt.Stored
		}
	}
}

// renew starts a new producer, whose sequences start at 1.
func (p *publisher) renew() {
	p.producer = NewID()
	clear(p.next)
}
