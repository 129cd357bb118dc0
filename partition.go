package deed

import (
	"cmp"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	// windowMax is how many events of a partition may be in flight. What a dead
	// member may have been handling lies within it, see suspect.go.
	windowMax = 1024
	// windowRoom is the room that a partition must have to be fetched from. A fetch is
	// of no more events than there is room for in each.
	windowRoom = 256
	// parkedMax is how many keys of a partition may be parked. Their names are in
	// memory; at the limit the partition waits.
	parkedMax = 1 << 16
	// keysMax is how many keys may have a queue before those without events lose
	// theirs. The others keep it for the next event.
	keysMax = 2 * windowMax
)

// partition is one claimed partition. Its fields are guarded by the group's mutex,
// but for those fixed when it was granted.
type partition struct {
	t       *topicRun
	claim   driver.Claim
	granted time.Time
	ctx     context.Context // of its handlers: ends with the claim
	cancel  context.CancelCauseFunc

	window    fifo[*item] // fetched events in order; done ones leave at the head
	keys      map[string]*keyQueue
	held      []*keyQueue // ready, while the partition is paused
	parked    map[string]struct{}
	partial   bool                // parked holds only some of the parked keys
	runs      map[string]*sideRun // events of the side log being handled, by key
	outage    outage
	attempts  map[string]driver.Mark // marks found when it was granted, by position
	suspects  int                    // how many of the next deliveries are suspect
	running   int                    // handlers at work
	wanted    bool                   // it should move: start nothing new
	gone      bool                   // it was lost or released
	full      bool                   // as of the fetch in progress: not fetched from
	watermark string                 // handled up to here
	settled   string                 // stored up to here
	status    string
	stop      string // why it cannot be read on, "" when it can
	reported  string // the status that was stored

	side    sideOps
	pollAt  time.Time // when to ask the side log for what is due
	handled int       // since the last settlement, for the rate
	rateAt  time.Time
	rate    float64
}

func newPartition(t *topicRun, c driver.Claim) *partition {
	ctx, cancel := context.WithCancelCause(t.g.hctx)
	p := &partition{
		t: t, claim: c, granted: time.Now(), ctx: ctx, cancel: cancel, settled: c.Position, watermark: c.Position,
		keys: make(map[string]*keyQueue), parked: make(map[string]struct{}), runs: make(map[string]*sideRun),
		rateAt: time.Now(),
	}
	if c.Suspect {
		p.suspects = windowMax
	}
	return p
}

// accept puts a delivery on its way. The caller holds g.mu.
func (p *partition) accept(it *item) {
	g := p.t.g
	it.p = p
	g.fetched++
	it.arrival = g.fetched
	p.window.push(it)
	g.bytes += len(it.Data)
	if p.suspects > 0 {
		p.suspects--
		it.suspect = true
	}
	if m, ok := p.attempts[it.Position]; ok {
		it.attempts, it.crashes = m.Attempts, m.Crashes
		delete(p.attempts, it.Position)
	}
	switch {
	case it.h == nil:
		p.t.passed++
		p.finish(it)
	case it.Replay && p.claim.Quiet && !it.h.replaySafe:
		p.t.quieted++
		p.finish(it)
	case p.isParked(it.Key):
		p.parkBehind(it)
	default:
		q := p.queueOf(it.Key)
		q.add(it)
		g.ready(q)
	}
}

// says tells why the partition does not move, "" when it does. The caller holds g.mu.
func (p *partition) says() string { return cmp.Or(p.status, p.stop) }

func (p *partition) isParked(key string) bool {
	if key == "" || seeded("parking") {
		return false
	}
	_, ok := p.parked[key]
	return ok
}

// queueOf returns the queue of a key, a new one for an event without key.
func (p *partition) queueOf(key string) *keyQueue {
	if key == "" {
		return &keyQueue{p: p}
	}
	q := p.keys[key]
	if q == nil {
		if len(p.keys) >= keysMax {
			maps.DeleteFunc(p.keys, func(_ string, q *keyQueue) bool { return q.len() == 0 && !q.busy })
		}
		q = &keyQueue{p: p, key: strings.Clone(key)} // an engine's strings may share memory with many others
		p.keys[q.key] = q
	}
	return q
}

// finish marks an event as handled, parked or dead and moves the watermark. The
// caller holds g.mu.
func (p *partition) finish(it *item) {
	if p.gone {
		return
	}
	it.done = true
	p.t.g.bytes -= len(it.Data)
	p.handled++
	if seeded("watermark") {
		p.watermark = it.Position
	}
	moved := false
	for p.window.len() > 0 && p.window.at(0).done {
		head := p.window.pop()
		if !seeded("watermark") {
			p.watermark = head.Position
		}
		moved = true
	}
	if moved {
		if !p.t.moved {
			p.t.moved = true
			p.t.wake()
		}
		p.t.g.refetch()
	}
}

// room reports whether the partition may be fetched from. The caller holds g.mu.
func (p *partition) room() bool {
	return !p.wanted && !p.partial && !p.outage.paused &&
		p.window.len() <= windowMax-windowRoom && len(p.parked) < parkedMax
}

// drop gives the partition up: nothing of it starts any more, and what still runs
// is told so. The caller holds g.mu.
func (p *partition) drop(cause error) {
	if p.gone {
		return
	}
	p.gone = true
	p.cancel(cause)
	for i := range p.window.len() {
		if it := p.window.at(i); !it.done {
			p.t.g.bytes -= len(it.Data)
		}
	}
	for _, run := range p.runs {
		for i := range run.q.len() { // the queue keeps them: it may be among the ready ones
			p.t.g.bytes -= len(run.q.at(i).Data)
		}
	}
	if p.t.parts[p.claim.Partition] == p {
		delete(p.t.parts, p.claim.Partition)
	}
	p.t.g.refetch()
}

// measure updates the rate, a moving average of events a second. The caller holds
// g.mu.
func (p *partition) measure(now time.Time) float64 {
	if d := now.Sub(p.rateAt); d >= time.Second {
		p.rate = (p.rate + float64(p.handled)/d.Seconds()) / 2
		p.handled, p.rateAt = 0, now
	}
	return p.rate
}
