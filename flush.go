package deed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// flush publishes a batch of requests and tells their callers.
func (f *flight) flush(ctx context.Context, requests []*request) {
	messages := 0
	for _, r := range requests {
		messages += len(r.place)
	}
	room := f.rooms.borrow(messages)
	f.send(ctx, f.merge(requests, *room))
	f.rooms.giveBack(room)
	clear(f.all)
	for i, r := range requests {
		requests[i] = nil
		r.done <- struct{}{} // from here on it is the caller's
	}
}

// run is a batch on its way to the engine, with the parts that it is made of.
type run struct {
	first, last *part
	before      *run // on the same partition
	batch       driver.Batch
	count       int   // of messages
	restamp     bool  // nothing of it was stored, and what went before it never will be
	doubt       error // of a try that may have stored it
	settled     bool
}

func newRun(p *part, before *run) run {
	return run{first: p, last: p, before: before, count: p.count, restamp: true, batch: driver.Batch{
		Topic: p.info.Name, Generation: p.info.Generation, Partition: p.partition, Messages: p.messages,
	}}
}

func (r *run) at() seqKey { return seqKey{r.batch.Topic, r.batch.Generation, r.batch.Partition} }

// merge joins parts of the same partition, so that an engine sees one batch for
// it; room takes their messages. Parts of topics with a dedupe window stay apart:
// each caller is told how many of its own were duplicates.
func (f *flight) merge(requests []*request, room []driver.Message) []*run {
	parts := 0
	for _, r := range requests {
		parts += len(r.parts)
	}
	all, runs := slices.Grow(f.all[:0], parts), f.runs[:0]
	open := make(map[seqKey]*run, min(parts, driver.DefaultPartitions))
	for _, r := range requests {
		for i := range r.parts {
			part := &r.parts[i]
			at := seqKey{part.info.Name, part.info.Generation, part.partition}
			before := open[at]
			if before != nil && part.info.Dedupe == 0 {
				before.last.next, before.last = part, part
				before.count += part.count
				continue
			}
			all = append(all, newRun(part, before))
			open[at] = &all[len(all)-1]
			runs = append(runs, open[at])
		}
	}
	for _, r := range runs {
		if r.first == r.last {
			continue
		}
		r.batch.Messages, room = room[:0:r.count], room[r.count:]
		for part := r.first; part != nil; part = part.next {
			r.batch.Messages = append(r.batch.Messages, part.messages...)
		}
	}
	f.all, f.runs = all, runs
	return runs
}

// send publishes runs, trying again those whose failure may pass. A repeated run
// carries the same stamps, so nothing is stored twice.
func (f *flight) send(ctx context.Context, runs []*run) {
	pause := publishPause
	for try := 1; len(runs) > 0; try++ {
		f.stamp(runs)
		runs = f.try(ctx, runs, try == publishTries)
		if len(runs) == 0 {
			return
		}
		select {
		case <-time.After(pause):
			pause *= publishFactor
		case <-f.stop:
			f.try(ctx, runs, true)
			return
		}
	}
}

// stamp numbers the runs that need it, each partition's where the one before ends.
func (f *flight) stamp(runs []*run) {
	if !f.bus.features.Sequence {
		return
	}
	for _, r := range runs {
		if !r.restamp {
			continue
		}
		r.batch.Producer, r.batch.Seq = f.producer, max(f.next[r.at()], 1)
		if before := r.before; before != nil && !before.settled && before.batch.Producer == f.producer {
			r.batch.Seq = max(r.batch.Seq, before.batch.Seq+int64(before.count))
		}
		r.restamp = false
	}
}

// try makes one engine call and returns the runs to try again, none at the last.
func (f *flight) try(ctx context.Context, runs []*run, last bool) (again []*run) {
	batches := f.batches[:0]
	for _, r := range runs {
		batches = append(batches, r.batch)
	}
	receipts, err := f.bus.conn.Publish(ctx, batches)
	clear(batches)
	f.batches = batches
	var failed map[seqKey]bool
	for i, r := range runs {
		var receipt driver.Receipt
		if receipt.Err = err; err == nil {
			receipt = receipts[i]
		}
		if errors.Is(receipt.Err, driver.ErrGap) {
			r.doubt = nil       // nothing of it is there
			if failed[r.at()] { // the gap is the failed run before this one, not a loss
				receipt.Err = fmt.Errorf("%w: what goes before it failed", driver.ErrNotStored)
				r.restamp = true
			}
		}
		if receipt.Err != nil {
			if !driver.NothingStored(receipt.Err) {
				r.doubt = receipt.Err
			}
			if failed == nil {
				failed = make(map[seqKey]bool)
			}
			failed[r.at()] = true
			full := errors.Is(receipt.Err, driver.ErrFull) && f.bus.makeRoom(ctx, r.batch.Topic)
			if !last && (full || f.mayPass(receipt.Err)) {
				again = append(again, r)
				continue
			}
		}
		f.settle(ctx, r, receipt)
	}
	return again
}

// mayPass reports whether trying again can help. Without a sequence what may be stored
// is not tried again, or it might be there twice.
func (f *flight) mayPass(err error) bool {
	if !f.bus.features.Sequence && !errors.Is(err, driver.ErrNotStored) {
		return false
	}
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
func (f *flight) settle(ctx context.Context, r *run, receipt driver.Receipt) {
	at := r.at()
	r.settled = true
	receipt.Err = f.bus.gone(ctx, r.batch.Topic, r.batch.Generation, receipt.Err)
	if r.doubt != nil && driver.NothingStored(receipt.Err) && !errors.Is(receipt.Err, driver.ErrNotFound) {
		// The last try stored nothing, but one before it may have. Were its numbers given to
		// other events, these would pass for stored already, and be lost.
		receipt.Err = fmt.Errorf("%w (and then: %v)", r.doubt, receipt.Err)
	}
	switch {
	case receipt.Err == nil && r.batch.Producer == f.producer:
		f.next[at] = max(f.next[at], r.batch.Seq+int64(r.count))
	case receipt.Err == nil: // the last of a producer that was renewed meanwhile
	case errors.Is(receipt.Err, driver.ErrNotFound):
		maps.DeleteFunc(f.next, func(k seqKey, _ int64) bool { return k.topic == at.topic && k.generation == at.generation })
	case errors.Is(receipt.Err, driver.ErrGap):
		f.bus.log.Error("deed: the engine lost events that it had acknowledged",
			"topic", r.batch.Topic, "partition", r.batch.Partition, "producer", r.batch.Producer, "seq", r.batch.Seq)
		f.renew()
	case !driver.NothingStored(receipt.Err):
		f.renew() // the outcome is unknown, so the sequence cannot go on
	}
	for part := r.first; part != nil; part = part.next {
		part.receipt = receipt
		part.receipt.Stored = part.count
		if part.info.Dedupe > 0 { // it is alone
			part.receipt.Stored = receipt.Stored
		}
	}
}

// renew starts a new producer, whose sequences start at 1.
func (f *flight) renew() {
	f.producer = NewID()
	clear(f.next)
}
