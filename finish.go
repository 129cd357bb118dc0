package deed

import (
	"errors"
	"time"

	"github.com/deedgo/deed/driver"
)

// retryWait is the longest that a key waits for its retry in memory. A longer one
// is parked, so that the window goes on.
const retryWait = 10 * time.Second

// finish acts on the verdict of a task. The caller holds g.mu.
func (g *groupRun) finish(items []*item, err error) {
	for _, it := range items {
		it.p.running--
		if it.p.running == 0 && it.p.wanted {
			it.p.t.wake()
		}
	}
	if g.sub.listens {
		g.finishOnce(items, err)
		return
	}
	if len(items) == 1 {
		g.verdict(items[0], err)
		return
	}
	var some BatchError
	switch {
	case err == nil, errors.As(err, &some):
		g.finishSome(items, some)
	default: // one by one, to find out which
		for _, it := range items {
			it.single = true
		}
		for i, it := range items {
			if i == 0 || items[i-1].q != it.q {
				g.advance(it.q)
			}
		}
	}
}

// finishSome acts on a batch of which some events failed. An event behind a failed
// one of its key was handled all the same, and stays so; a second failure of a key
// waits for its turn.
func (g *groupRun) finishSome(items []*item, failed BatchError) {
	errs := make(map[*item]error, len(failed))
	for i, it := range items {
		if failed[i] == nil {
			g.succeeded(it)
		} else {
			errs[it] = failed[i]
			it.single = true
		}
	}
	for i, it := range items {
		q := it.q
		if i > 0 && items[i-1].q == q {
			continue
		}
		for q.len() > 0 && q.at(0).done {
			q.pop()
		}
		if q.len() > 0 && errs[q.at(0)] != nil {
			g.failed(q.at(0), errs[q.at(0)])
		} else {
			g.advance(q)
		}
	}
}

// verdict acts on what a handler returned for the head of a queue. The caller holds
// g.mu.
func (g *groupRun) verdict(it *item, err error) {
	if err == nil {
		g.succeeded(it)
		g.advance(it.q)
		return
	}
	g.failed(it, err)
}

// succeeded ends an event that was handled.
func (g *groupRun) succeeded(it *item) {
	p := it.p
	if p.gone {
		return
	}
	p.outage.succeeded(it)
	g.answered(p)
	if it.side != nil {
		p.unpark(it)
	} else {
		p.finish(it)
	}
}

// failed decides what becomes of an event whose handler returned an error.
func (g *groupRun) failed(it *item, err error) {
	p := it.p
	if p.gone {
		return
	}
	if g.ctx.Err() != nil || p.wanted {
		return // stopping: the next owner handles it, and this try does not count
	}
	var reject *rejectError
	var crash *crashError
	switch {
	case errors.As(err, &crash):
		g.kill(it, reasonCrashed, err)
		return
	case errors.As(err, &reject):
		g.answered(p)
		it.attempts++
		g.kill(it, reasonOf(err), err)
		return
	case g.failedInOutage(it, err):
		it.q.busy = false
		g.ready(it.q) // held until the outage is over
		return
	}
	it.attempts++
	var later *retryAfterError
	switch {
	case errors.As(err, &later):
		g.retry(it, later.after, err)
	case it.attempts >= g.sub.opts.Retry.Attempts:
		g.kill(it, reasonExhausted, err)
	default:
		g.retry(it, g.sub.opts.Retry.delay(it.attempts), err)
	}
}

func reasonOf(err error) string {
	var u *undecodableError
	switch {
	case errors.Is(err, errVersion):
		return reasonVersion
	case errors.As(err, &u):
		return reasonUndecodable
	default:
		return reasonRejected
	}
}

// retry tries the head of a queue again after d: in memory when that is soon, else
// from the side log, behind which its key parks.
func (g *groupRun) retry(it *item, d time.Duration, err error) {
	p := it.p
	p.t.log.Debug("deed: an event will be tried again",
		"id", it.ID, "type", it.Type, "attempt", it.attempts, "after", d.String(), "error", err)
	if it.side == nil && d <= retryWait && p.window.len() < windowMax/2 {
		p.side.marks = append(p.side.marks, driver.Mark{Position: it.Position, Attempts: it.attempts})
		p.t.wake()
		g.after(d, func() {
			it.q.busy = false
			g.ready(it.q)
		})
		return
	}
	g.park(it, driver.Parked{After: d, Letter: letterOf(it, driver.Waiting, "", err)})
}

// kill makes the head of a queue a dead letter.
func (g *groupRun) kill(it *item, reason string, err error) {
	it.p.t.log.Error("deed: dead letter", "id", it.ID, "type", it.Type, "key", it.Key,
		"position", it.at, "reason", reason, "attempts", it.attempts, "error", err)
	l := letterOf(it, driver.Dead, reason, err)
	l.Aside = g.sub.opts.SkipDead || it.Key == ""
	g.park(it, driver.Parked{Letter: l})
}

// letterOf describes a failure for the side log.
func letterOf(it *item, s driver.LetterState, reason string, err error) driver.Letter {
	l := driver.Letter{
		State: s, Attempts: it.attempts, Crashes: it.crashes, Reason: reason, Error: err.Error(), Failed: time.Now(),
	}
	var p *panicError
	if errors.As(err, &p) {
		l.Stack = p.stack
	}
	return l
}
