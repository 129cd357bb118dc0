package deed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// finishOnce ends a listener's task: nothing is handled again. The caller holds g.mu.
func (g *groupRun) finishOnce(items []*item, err error) {
	var some BatchError
	partly := len(items) > 1 && errors.As(err, &some)
	for i, it := range items {
		if partly {
			err = some[i]
		}
		if err != nil {
			it.p.t.forfeit(err)
		}
		it.p.finish(it)
	}
	for i, it := range items {
		if i == 0 || items[i-1].q != it.q {
			g.advance(it.q)
		}
	}
}

// lossEvery is how often a listener that goes on losing events says so.
const lossEvery = 10 * time.Second

// losses counts events that reached a listener or should have, and that it has not
// handled. Since is what was not reported yet.
type losses struct {
	failed, sinceFailed int64 // their handler failed
	slow, sinceSlow     int64 // had no room to wait
	err                 error // of the last that failed
	quiet               bool  // was reported a moment ago
}

// forfeit counts an event whose handler failed. The caller holds g.mu.
func (t *topicRun) forfeit(err error) {
	l := &t.losses
	l.failed++
	l.sinceFailed++
	l.err = err
	t.say()
}

// missed takes over what the engine says about events that did not come. The caller
// holds g.mu.
func (t *topicRun) missed(m driver.Missed) {
	if m.Deaf != nil {
		t.log.Warn("deed: nothing is heard any more, and what is announced meanwhile is lost", "error", m.Deaf)
	}
	if m.Back > 0 {
		t.log.Warn("deed: listening again, what was announced in between is gone", "after", m.Back.String())
	}
	if m.Events > 0 {
		t.losses.slow += m.Events
		t.losses.sinceSlow += m.Events
		t.say()
	}
}

// say reports losses, at once or when the last report is long enough ago. The caller
// holds g.mu.
func (t *topicRun) say() {
	l := &t.losses
	if l.quiet || l.sinceFailed+l.sinceSlow == 0 {
		return
	}
	l.quiet = true
	if l.sinceFailed > 0 {
		t.log.Error("deed: events are lost, their handler failed",
			"events", l.sinceFailed, "in_all", l.failed, "error", l.err)
	}
	if l.sinceSlow > 0 {
		t.log.Warn("deed: events are lost, the handlers are too slow", "events", l.sinceSlow, "in_all", l.slow)
	}
	l.sinceFailed, l.sinceSlow = 0, 0
	t.g.after(lossEvery, func() {
		l.quiet = false
		t.say()
	})
}

// reportLosses says at the end what was not said yet, and how many events were fetched
// and not handled.
func (t *topicRun) reportLosses() {
	if !t.g.sub.listens {
		return
	}
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.losses.quiet = false
	t.say()
	unhandled := 0
	for _, p := range t.parts {
		for i := range p.window.len() {
			if !p.window.at(i).done {
				unhandled++
			}
		}
	}
	if unhandled > 0 {
		t.log.Info("deed: events that were heard were not handled before the end", "events", unhandled)
	}
}

// noSideLog stands for the side log of an engine that has none. Nothing is put into
// it, so nothing is in it.
type noSideLog struct{}

func (noSideLog) Park(context.Context, driver.Claim, []driver.Parked) error { return errNoSideLog }

func (noSideLog) Unpark(context.Context, driver.Claim, []string) ([]string, error) {
	return nil, errNoSideLog
}

func (noSideLog) SetMarks(context.Context, driver.Claim, []driver.Mark) error { return errNoSideLog }

func (noSideLog) Due(context.Context, driver.Claim, int) ([]driver.Letter, error) { return nil, nil }

func (noSideLog) Chain(context.Context, driver.Claim, string, int) ([]driver.Letter, error) {
	return nil, nil
}

func (noSideLog) ParkedKeys(context.Context, driver.Claim, int) ([]string, error) { return nil, nil }

func (noSideLog) Marks(context.Context, driver.Claim) ([]driver.Mark, error) { return nil, nil }

var errNoSideLog = errors.New("a listener parks nothing")

// sideLog returns where the group's parked events and dead letters are.
func (g *groupRun) sideLog() (driver.SideLog, error) {
	if g.sub.listens {
		return noSideLog{}, nil
	}
	side, ok := driver.As[driver.SideLog](g.bus.conn)
	if !ok {
		return nil, fmt.Errorf("%s keeps no dead letters: %w", g.bus.features.Engine, errors.ErrUnsupported)
	}
	return side, nil
}
