package deed

import (
	"sort"
	"time"

	"github.com/deedgo/deed/driver"
)

// item is one event on its way through a group.
type item struct {
	*driver.Delivery
	p        *partition
	q        *keyQueue
	h        *handler // nil for a type that the group passes over
	at       string   // its position as the handler sees it
	side     *sideRun // set for a record of the side log
	arrival  int64    // counts what the group fetched
	attempts int      // tries that were counted
	crashes  int      // how often the process ended while it was on trial
	suspect  bool     // may have ended a process: see suspect.go
	single   bool     // its batch failed: runs alone
	done     bool     // handled, parked or dead: the watermark may pass it
	alone    [1]*item // itself, the usual task
	handling handling // of its first try
}

// keyQueue holds a key's events in order. At most one of them is with a worker.
// Events without key have a queue each.
type keyQueue struct {
	fifo[*item]
	p     *partition
	key   string
	busy  bool // ready, with a worker, or waiting for a retry
	probe bool // its head finds out whether an outage is over
}

func (q *keyQueue) add(it *item) {
	it.q = q
	q.push(it)
}

// ready makes q's head available to the workers. The caller holds g.mu.
func (g *groupRun) ready(q *keyQueue) {
	p := q.p
	if q.len() == 0 || q.busy || p.gone || p.wanted {
		return
	}
	if q.at(0).suspect { // its worker looks for such heads by itself
		g.suspectWork.Signal()
		return
	}
	q.busy = true
	if p.outage.paused && !p.outage.probeDue {
		p.held = append(p.held, q)
		return
	}
	g.enqueue(q)
}

// enqueue hands q to the workers, as the probe if its partition is paused. A single
// worker gets the events as they came, so that the watermark stands right behind
// what it has handled and a clean stop leaves nothing to be handled again.
func (g *groupRun) enqueue(q *keyQueue) {
	q.probe = q.p.outage.paused
	q.p.outage.probeDue = false
	i := g.queue.len()
	if g.sub.opts.Parallel == 1 {
		i = sort.Search(i, func(i int) bool { return g.queue.at(i).at(0).arrival > q.at(0).arrival })
	}
	g.queue.insert(i, q)
	g.work.Signal()
}

// next returns the next task, or false when the group has stopped. The caller
// holds g.mu.
func (g *groupRun) next() ([]*item, bool) {
	for {
		if g.stopping {
			return nil, false
		}
		if g.queue.len() == 0 || g.running+g.suspectsWaiting >= g.sub.opts.Parallel {
			g.work.Wait()
			continue
		}
		if q := g.queue.pop(); g.startable(q) {
			return g.task(q), true
		}
	}
}

// startable reports whether q's head may still start: its partition may have been
// given up or paused since q became ready.
func (g *groupRun) startable(q *keyQueue) bool {
	p := q.p
	if p.gone || p.wanted {
		return false
	}
	if p.outage.paused && !q.probe {
		p.held = append(p.held, q)
		return false
	}
	return true
}

const batchScan = 256 // ready queues that are looked at for one batch

// task takes q's head, and for a batch handler more events of q and of other ready
// queues. Items of one queue follow each other in order.
func (g *groupRun) task(q *keyQueue) []*item {
	head := q.at(0)
	head.alone[0] = head
	items := head.alone[:]
	if head.h.maxBatch > 1 && !head.single && !q.probe {
		items = fill(items, q, 1)
		for range min(g.queue.len(), batchScan) {
			if len(items) == head.h.maxBatch {
				break
			}
			other := g.queue.pop()
			if first := other.at(0); first.h == head.h && !first.single && !other.probe && g.startable(other) {
				items = fill(items, other, 0)
			} else if first.h != head.h || first.single || other.probe {
				g.queue.push(other)
			}
		}
	}
	for _, it := range items {
		it.p.running++
	}
	g.running++
	return items
}

// fill appends q's events from the given index on, as far as they may share the
// batch.
func fill(items []*item, q *keyQueue, from int) []*item {
	h := q.at(0).h
	for i := from; i < q.len() && len(items) < h.maxBatch; i++ {
		it := q.at(i)
		if it.h != h || it.single || it.suspect {
			break
		}
		items = append(items, it)
	}
	return items
}

// advance lets the next event of q go once the head is done. The caller holds g.mu.
func (g *groupRun) advance(q *keyQueue) {
	q.busy = false
	for q.len() > 0 && q.at(0).done {
		q.pop()
	}
	if q.len() > 0 {
		g.ready(q)
	}
}

// after calls f with g.mu held once d has passed, unless the group has stopped by
// then. The caller holds g.mu.
func (g *groupRun) after(d time.Duration, f func()) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.timers, t)
		if !g.stopping {
			f()
		}
	})
	g.timers[t] = struct{}{}
}
