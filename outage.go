package deed

import (
	"time"
)

// An outage is not a poison event. When most of the keys that a partition tried
// lately fail for reasons that may pass, what they call is down: the partition
// pauses and tries one event now and then, which uses up no attempts.
const (
	outageWindow = 10 * time.Second // how long a try counts
	outageKeys   = 10               // distinct keys that must have been tried
	outageTries  = 1024             // keys that are remembered
	probeMax     = 30 * time.Second // longest pause between probes
)

// outage watches a partition's tries. It is guarded by the group's mutex.
type outage struct {
	tries    map[string]try // by key; nil while nothing fails
	paused   bool
	probeDue bool // the next event that becomes ready is the probe
	pause    time.Duration
}

type try struct {
	at     time.Time
	failed bool
}

// succeeded counts a success, which it does only beside failures, so that a healthy
// partition pays nothing.
func (o *outage) succeeded(it *item) {
	if o.tries != nil {
		o.tried(outageKey(it), time.Now(), false)
	}
}

// tried remembers how a key's latest try ended.
func (o *outage) tried(key string, now time.Time, failed bool) {
	if o.tries == nil {
		o.tries = make(map[string]try)
	}
	if _, known := o.tries[key]; known || len(o.tries) < outageTries {
		o.tries[key] = try{now, failed}
	}
}

// down forgets old tries and reports whether the rest looks like an outage.
func (o *outage) down(now time.Time) bool {
	failed := 0
	for key, t := range o.tries {
		switch {
		case now.Sub(t.at) > outageWindow:
			delete(o.tries, key)
		case t.failed:
			failed++
		}
	}
	if failed == 0 {
		o.tries = nil
	}
	return len(o.tries) >= outageKeys && failed*2 > len(o.tries)
}

// outageKey tells the keys of an outage apart: an event without key is its own.
func outageKey(it *item) string {
	if it.Key != "" {
		return it.Key
	}
	return it.Position
}

// failedInOutage counts a failure that may pass and reports whether it belongs to
// an outage. The caller holds g.mu.
func (g *groupRun) failedInOutage(it *item, err error) bool {
	p, now := it.p, time.Now()
	o := &p.outage
	o.tried(outageKey(it), now, true)
	switch {
	case o.paused && it.q.probe:
		it.q.probe = false
		o.pause = min(2*o.pause, probeMax)
		p.status = "paused: " + err.Error()
		g.probeLater(p)
	case o.paused:
	case o.down(now):
		o.paused, o.pause = true, g.sub.opts.Retry.Min
		p.status = "paused: " + err.Error()
		p.t.log.Warn("deed: most events fail, the partition pauses until one succeeds",
			"partition", p.claim.Partition, "error", err)
		g.probeLater(p)
	}
	return o.paused
}

// probeLater tries one event after the pause. The caller holds g.mu.
func (g *groupRun) probeLater(p *partition) {
	g.after(p.outage.pause, func() {
		if !p.outage.paused || p.gone {
			return
		}
		p.outage.probeDue = true
		g.suspectWork.Signal()
		if len(p.held) > 0 {
			q := p.held[0]
			p.held = p.held[1:]
			g.enqueue(q)
		}
	})
}

// answered ends an outage: a handler came through. The caller holds g.mu.
func (g *groupRun) answered(p *partition) {
	if !p.outage.paused {
		return
	}
	p.outage = outage{}
	p.status = ""
	p.t.log.Info("deed: the outage is over", "partition", p.claim.Partition)
	held := p.held
	p.held = nil
	for _, q := range held {
		q.busy = false
		g.ready(q)
	}
	g.suspectWork.Signal()
	p.t.g.refetch()
}
