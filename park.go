package deed

import (
	"context"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// A partition's side log is changed by its settler only, in the order of these
// queues: first what was handled leaves, then what failed enters. The decisions are
// made under the group's mutex, so that no event of a key overtakes what is parked
// of it, in whatever order handlers return.
type sideOps struct {
	unparks []*item
	parks   []parkOp
	marks   []driver.Mark
}

type parkOp struct {
	it  *item
	rec driver.Parked
}

func (o *sideOps) empty() bool { return len(o.unparks)+len(o.parks)+len(o.marks) == 0 }

// sideRun is the handling of a key's parked events, or of one without key.
type sideRun struct {
	name string // the key, or a name that no key has
	q    *keyQueue
	left int // records of the run that are still in the side log
}

// runName names the run of a record: records that hold nothing back run alone.
func runName(l *driver.Letter) (name string, chain bool) {
	if l.Key == "" || l.Aside {
		return "\x00" + l.Position, false
	}
	return l.Key, true
}

// park puts the head of a queue into the side log, with what waits behind it unless
// it holds nothing back. The caller holds g.mu.
func (g *groupRun) park(it *item, rec driver.Parked) {
	p, q := it.p, it.q
	p.side.parks = append(p.side.parks, parkOp{it, rec})
	p.t.wake()
	switch {
	case it.side != nil: // what waits behind it is in the side log already
		g.abandon(q)
	case rec.Aside || it.Key == "":
		q.pop()
		g.advance(q)
	default:
		q.pop()
		p.parked[q.key] = struct{}{}
		for q.len() > 0 {
			if next := q.pop(); !next.done {
				p.parkBehind(next)
			}
		}
		delete(p.keys, q.key)
	}
}

// parkBehind puts an event behind what is parked of its key.
func (p *partition) parkBehind(it *item) {
	p.side.parks = append(p.side.parks, parkOp{it, driver.Parked{Letter: driver.Letter{State: driver.Behind}}})
	p.t.wake()
}

// abandon forgets the rest of a side-log run, which stays in the side log.
func (g *groupRun) abandon(q *keyQueue) {
	for q.len() > 0 {
		g.bytes -= len(q.pop().Data)
	}
	g.refetch()
}

// unpark notes that a record of the side log was handled.
func (p *partition) unpark(it *item) {
	it.done = true
	p.t.g.bytes -= len(it.Data)
	p.side.unparks = append(p.side.unparks, it)
	p.t.wake()
	p.t.g.refetch()
}

// record completes what is stored of an event.
func (op *parkOp) record(t *topicRun) driver.Parked {
	rec := op.rec
	rec.Group, rec.Topic, rec.Run, rec.Delivery = t.g.sub.group, t.name, op.it.p.claim.Run, *op.it.Delivery
	return rec
}

const parkBatch = 256 // records in one engine call

// flushSide stores what happened to a partition's parked events. What it could not
// store stays queued, and the partition waits.
func (t *topicRun) flushSide(ctx context.Context, p *partition) error {
	g := t.g
	g.mu.Lock()
	ops := p.side
	p.side = sideOps{}
	g.mu.Unlock()
	err := t.storeSide(ctx, p, &ops)
	if err != nil {
		g.mu.Lock()
		p.side.unparks = append(ops.unparks, p.side.unparks...)
		p.side.parks = append(ops.parks, p.side.parks...)
		p.side.marks = append(ops.marks, p.side.marks...)
		g.mu.Unlock()
	}
	return err
}

// storeSide stores ops and removes from them what was stored.
func (t *topicRun) storeSide(ctx context.Context, p *partition, ops *sideOps) error {
	if len(ops.unparks) > 0 {
		positions := make([]string, len(ops.unparks))
		for i, it := range ops.unparks {
			positions[i] = it.Position
		}
		empty, err := t.side.Unpark(ctx, p.claim, positions)
		if err != nil {
			return err
		}
		t.g.mu.Lock()
		p.unparked(ops, empty)
		t.g.mu.Unlock()
		ops.unparks = nil
	}
	for len(ops.parks) > 0 {
		n := min(len(ops.parks), parkBatch)
		recs := make([]driver.Parked, n)
		for i := range recs {
			recs[i] = ops.parks[i].record(t)
		}
		if err := t.side.Park(ctx, p.claim, recs); err != nil {
			return err
		}
		t.g.mu.Lock()
		p.stored(ops.parks[:n])
		t.g.mu.Unlock()
		ops.parks = ops.parks[n:]
	}
	if len(ops.marks) > 0 {
		if err := t.side.SetMarks(ctx, p.claim, ops.marks); err != nil {
			return err
		}
		ops.marks = nil
	}
	return nil
}

// unparked lets keys go of which nothing is left in the side log. The caller holds
// g.mu.
func (p *partition) unparked(ops *sideOps, empty []string) {
	for _, it := range ops.unparks {
		if it.side.left--; it.side.left == 0 {
			delete(p.runs, it.side.name)
			p.pollAt = time.Time{} // the key may go on
		}
	}
	if len(empty) == 0 {
		return
	}
	coming := make(map[string]bool) // on their way into the side log
	for _, op := range slices.Concat(ops.parks, p.side.parks) {
		coming[op.it.Key] = true
	}
	for _, key := range empty {
		if !coming[key] {
			delete(p.parked, key)
		}
	}
	p.t.g.refetch()
}

// stored ends events that are safe in the side log. The caller holds g.mu.
func (p *partition) stored(ops []parkOp) {
	for _, op := range ops {
		switch {
		case op.it.side == nil:
			p.finish(op.it)
		default:
			delete(p.runs, op.it.side.name)
		}
	}
}

const (
	sideRuns  = 64 // runs of one partition at a time
	sideChain = 32 // events of a key fetched at once
	// How often the side log is asked for what is due: a redrive by another
	// process is noticed within the second.
	sidePollBusy = 100 * time.Millisecond
	sidePollIdle = time.Second
)

// startDue starts runs of parked events that may be tried now.
func (t *topicRun) startDue(ctx context.Context, p *partition) error {
	g := t.g
	g.mu.Lock()
	now := time.Now()
	room := sideRuns - len(p.runs)
	if p.gone || p.wanted || p.outage.paused || now.Before(p.pollAt) || room <= 0 || g.bytes > g.sub.opts.InFlightBytes {
		g.mu.Unlock()
		return nil
	}
	p.pollAt = now.Add(sidePollIdle)
	if len(p.parked) > 0 || len(p.runs) > 0 {
		p.pollAt = now.Add(sidePollBusy)
	}
	g.mu.Unlock()

	heads, err := t.side.Due(ctx, p.claim, sideRuns)
	if err != nil {
		return err
	}
	for i := range heads {
		if i == room {
			break
		}
		if err := t.startRun(ctx, p, &heads[i]); err != nil {
			return err
		}
	}
	return nil
}

// startRun fetches a key's parked events and gives them to the workers.
func (t *topicRun) startRun(ctx context.Context, p *partition, head *driver.Letter) error {
	g := t.g
	name, chain := runName(head)
	g.mu.Lock()
	_, running := p.runs[name]
	g.mu.Unlock()
	if running {
		return nil
	}
	letters := []driver.Letter{*head}
	if chain {
		var err error
		if letters, err = t.side.Chain(ctx, p.claim, head.Key, sideChain); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.gone || p.wanted {
		return nil
	}
	q := &keyQueue{p: p, key: head.Key}
	run := &sideRun{name: name, q: q}
	for i := range letters {
		l := &letters[i]
		if l.State == driver.Dead || i > 0 && l.State == driver.Waiting {
			break
		}
		q.add(p.itemOf(l, run))
		run.left++
		g.bytes += len(l.Data)
	}
	if run.left > 0 {
		p.runs[name] = run
		if chain {
			p.parked[head.Key] = struct{}{}
		}
		g.ready(q)
	}
	return nil
}

// itemOf turns a record into work. A redriven one starts afresh.
func (p *partition) itemOf(l *driver.Letter, run *sideRun) *item {
	it := &item{Delivery: &l.Delivery, p: p, h: p.t.handlerFor(&l.Delivery), side: run}
	it.Partition = p.claim.Partition
	it.at = position(it.Partition, it.Position)
	if l.State != driver.Redriven {
		it.attempts, it.crashes = l.Attempts, l.Crashes
		it.suspect = p.claim.Suspect && l.Due.Before(p.granted) && l.State == driver.Waiting
	}
	if it.h == nil {
		it.h = passOver
	}
	return it
}

// passOver handles parked events of types that the group no longer has a handler
// for.
var passOver = &handler{call: func(context.Context, Received[[]byte]) error { return nil }}
