package deed

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Crashes cost the fast path nothing. A claim taken over from a member that ended
// without handing over is suspect: one of the events that it may have been handling,
// which lie within a window above the low watermark, may have ended it. These are
// put on trial: marked durably, then run one at a time in the whole process, then
// cleared. If the process ends during a trial, the marks tell the next owner which
// events to doubt, and from then on each of those stands trial alone. So many events
// are tried per write while nothing is wrong, and only an event that ends its
// process while it runs alone can reach the limit.
//
// In a mark, Crashes 1 means "ended a process within a trial of several", each one
// above it "ended a process alone".

const trialMax = 64 // events of one trial

// crashError says that an event ended its process too often to be run again.
type crashError struct{ crashes int }

func (e *crashError) Error() string {
	return fmt.Sprintf("the process ended %d times while this event was handled alone", e.crashes)
}

// workSuspects holds trials until the group stops.
func (g *groupRun) workSuspects() {
	for {
		g.mu.Lock()
		var items []*item
		for items == nil && !g.stopping {
			if items = g.trial(); items == nil {
				g.suspectWork.Wait()
			}
		}
		g.mu.Unlock()
		if items == nil {
			return
		}
		g.bus.suspects.Lock()
		g.try(items)
		g.bus.suspects.Unlock()
	}
}

// trial picks suspect events of one partition in order: one that was doubted before
// alone, else as many as may run. The caller holds g.mu.
func (g *groupRun) trial() []*item {
	for _, t := range g.topics {
		for _, p := range t.parts {
			if items := p.trial(); items != nil {
				return items
			}
		}
	}
	return nil
}

func (p *partition) trial() []*item {
	if p.wanted || p.outage.paused && !p.outage.probeDue {
		return nil
	}
	for _, run := range p.runs {
		if q := run.q; q.len() > 0 && q.at(0).suspect && !q.busy {
			return []*item{q.at(0)}
		}
	}
	limit := trialMax
	if p.outage.paused {
		limit = 1
	}
	var items []*item
	blocked := make(map[*keyQueue]bool) // their head is no suspect of this trial
	for i := 0; i < p.window.len() && len(items) < limit; i++ {
		it := p.window.at(i)
		if it.done || it.q == nil || blocked[it.q] {
			continue
		}
		if !it.suspect {
			break
		}
		if it.q.busy || !it.next(items) {
			blocked[it.q] = true
			continue
		}
		if it.crashes > 0 && !seeded("suspect") {
			if len(items) == 0 {
				items = append(items, it)
			}
			break
		}
		items = append(items, it)
	}
	return items
}

// next reports whether it is the first of its queue that is not among items, which
// are in order.
func (it *item) next(items []*item) bool {
	ahead := 0
	for _, other := range items {
		if other.q == it.q {
			ahead++
		}
	}
	return ahead < it.q.len() && it.q.at(ahead) == it
}

// try holds one trial. The caller holds the bus's suspects lock.
func (g *groupRun) try(items []*item) {
	p := items[0].p
	if items[0].crashes > g.sub.opts.MaxCrashes {
		g.runSuspect(items[0], func() error { return &crashError{items[0].crashes - 1} })
		return
	}
	if !g.mark(items, 1) {
		return
	}
	for _, it := range items {
		g.runSuspect(it, func() error { return g.run([]*item{it}) })
	}
	g.mu.Lock()
	over := p.gone
	g.mu.Unlock()
	if !over {
		g.mark(items, 0)
	}
}

// runSuspect runs one event of a trial, if it may still start.
func (g *groupRun) runSuspect(it *item, call func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.work.Broadcast() // the slot is free
	g.suspectsWaiting++
	for g.running >= g.sub.opts.Parallel && !g.stopping {
		g.suspectWork.Wait()
	}
	g.suspectsWaiting--
	p := it.p
	head := it.q.len() > 0 && it.q.at(0) == it
	if g.stopping || p.gone || p.wanted || it.done || !head || it.q.busy || p.outage.paused && !p.outage.probeDue {
		return
	}
	it.q.busy = true
	it.q.probe = p.outage.paused
	p.outage.probeDue = false
	p.running++
	g.running++
	g.mu.Unlock()
	err := call()
	g.mu.Lock()
	it.crashes = 0 // it came back
	g.finish([]*item{it}, err)
	g.ended()
}

const markPause = 100 * time.Millisecond

// mark stores that items are on trial, or with crash 0 that they came back. It
// tries until that is stored, and reports false when the partition is given up or
// the group stops first.
func (g *groupRun) mark(items []*item, crash int) bool {
	p := items[0].p
	for {
		err := p.t.storeMarks(p, items, crash)
		if err == nil {
			return true
		}
		p.t.log.Warn("deed: marking suspect events failed, trying again", "partition", p.claim.Partition, "error", err)
		select {
		case <-time.After(markPause):
		case <-p.ctx.Done():
			return false
		case <-g.ctx.Done():
			return false
		}
	}
}

func (t *topicRun) storeMarks(p *partition, items []*item, crash int) error {
	ctx := context.WithoutCancel(p.ctx)
	if it := items[0]; it.side != nil {
		if crash == 0 {
			return nil // what became of it is stored by the settler
		}
		op := parkOp{it, driver.Parked{Letter: driver.Letter{
			State: driver.Waiting, Attempts: it.attempts, Crashes: it.crashes + crash,
		}}}
		return t.side.Park(ctx, p.claim, []driver.Parked{op.record(t)})
	}
	marks := make([]driver.Mark, len(items))
	for i, it := range items {
		marks[i] = driver.Mark{Position: it.Position, Attempts: it.attempts}
		if crash > 0 {
			marks[i].Crashes = it.crashes + crash
		}
	}
	return t.side.SetMarks(ctx, p.claim, marks)
}
