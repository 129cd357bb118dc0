package deed

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// settleEvery is how often a partition's progress is stored. What a crash undoes
// is at most what was handled since.
const settleEvery = 100 * time.Millisecond

// restEvery is how often a topic is looked after where nothing is going on: only a
// redrive by somebody else could have changed that.
const restEvery = 500 * time.Millisecond

// settleLoop stores what happened on a topic until ctx ends: parked events at once,
// positions at once after a quiet time and ten times a second under load.
func (t *topicRun) settleLoop(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	failing := false
	var settled time.Time
	for {
		due := false
		select {
		case <-t.kick:
		case <-tick.C:
			due = true
		case <-ctx.Done():
			return
		}
		positions := due || time.Since(settled) >= settleEvery
		if positions {
			settled = time.Now()
		}
		err := t.settle(ctx, positions)
		next := settleEvery
		if err == nil && t.atRest() {
			next = restEvery
		}
		tick.Reset(next)
		if err != nil && !failing && ctx.Err() == nil {
			t.log.Warn("deed: storing progress failed, trying again", "error", err)
		}
		failing = err != nil
	}
}

// settle stores parked events, starts those that are due, and stores positions if
// asked to or if a partition waits to be handed over.
func (t *topicRun) settle(ctx context.Context, positions bool) error {
	var errs []error
	for _, p := range t.partitions() {
		err := t.flushSide(ctx, p)
		if err == nil {
			err = t.startDue(ctx, p)
		}
		if errors.Is(err, driver.ErrFenced) {
			t.lose(p)
			continue
		}
		errs = append(errs, err, t.reload(ctx, p))
	}
	if positions || t.yielding() {
		errs = append(errs, t.settlePositions(ctx, false))
	}
	return errors.Join(errs...)
}

// atRest reports whether nothing is in flight, parked or to be stored.
func (t *topicRun) atRest() bool {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	for _, p := range t.parts {
		busy := p.window.len() > 0 || len(p.parked) > 0 || len(p.runs) > 0 || !p.side.empty()
		if busy || p.wanted || p.outage.paused || p.says() != p.reported || p.watermark != p.settled {
			return false
		}
	}
	return !t.moved
}

// yielding reports whether a partition waits to be handed over.
func (t *topicRun) yielding() bool {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	for _, p := range t.parts {
		if p.wanted {
			return true
		}
	}
	return false
}

func (t *topicRun) partitions() []*partition {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	ps := make([]*partition, 0, len(t.parts))
	for _, p := range t.parts {
		ps = append(ps, p)
	}
	return ps
}

// lose gives up a partition that the engine says is somebody else's.
func (t *topicRun) lose(p *partition) {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	if !p.gone {
		t.log.Warn("deed: a partition was lost", "partition", p.claim.Partition, "epoch", p.claim.Epoch)
		p.drop(ErrClaimLost)
	}
}

// settlePositions stores the low watermarks and hands over the partitions that are
// wanted, or all at the end, once nothing of them runs.
func (t *topicRun) settlePositions(ctx context.Context, leaving bool) error {
	g := t.g
	var settlements []driver.Settlement
	var parts []*partition
	now := time.Now()
	g.mu.Lock()
	t.moved = false
	sub := t.sub
	for _, i := range slices.Sorted(maps.Keys(t.parts)) { // in one order, by which an engine locks claims
		p := t.parts[i]
		s := driver.Settlement{
			Partition: p.claim.Partition, Epoch: p.claim.Epoch, Rate: p.measure(now), Status: p.says(),
			Release: (p.wanted || leaving) && p.running == 0 && p.side.empty(),
		}
		if p.watermark != p.settled {
			s.Position = p.watermark
		}
		if s.Position != "" || s.Release || s.Status != p.reported {
			settlements = append(settlements, s)
			parts = append(parts, p)
		}
	}
	g.mu.Unlock()
	if len(settlements) == 0 {
		return nil
	}
	lost, err := sub.Settle(ctx, settlements)
	if err != nil {
		return err
	}
	for _, p := range parts { // not by number: it may have been claimed again meanwhile
		if slices.Contains(lost, p.claim.Partition) {
			t.lose(p)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range settlements {
		p := parts[i]
		switch {
		case p.gone:
		case s.Release:
			p.drop(ErrClaimLost)
		default:
			p.reported = s.Status
			if s.Position != "" {
				p.settled = s.Position
			}
		}
	}
	return nil
}

// reload completes the parked keys of a partition that had too many to remember,
// once there is room for them.
func (t *topicRun) reload(ctx context.Context, p *partition) error {
	g := t.g
	g.mu.Lock()
	due := p.partial && len(p.parked) <= parkedMax/2
	g.mu.Unlock()
	if !due {
		return nil
	}
	keys, partial, err := t.parkedKeys(ctx, p.claim)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for key := range keys {
		p.parked[key] = struct{}{}
	}
	p.partial = partial
	g.refetch()
	return nil
}

// leaveTimeout bounds what a stopping group waits for its engine.
const leaveTimeout = 10 * time.Second

// leave stores the last progress, hands everything over that is at rest, and leaves
// the group.
func (t *topicRun) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.g.ctx), leaveTimeout)
	defer cancel()
	t.reportLosses()
	var errs []error
	for _, p := range t.partitions() {
		errs = append(errs, t.flushSide(ctx, p))
	}
	errs = append(errs, t.settlePositions(ctx, true), t.sub.Close())
	if err := errors.Join(errs...); err != nil && !errors.Is(err, driver.ErrFenced) {
		t.log.Warn("deed: leaving the group failed, some events will be handled again", "error", err)
	}
	if t.passed > 0 {
		t.log.Info("deed: events of types without a handler were passed over", "events", t.passed)
	}
	if t.quieted > 0 {
		t.log.Info("deed: replayed events were kept from handlers that are not replay-safe", "events", t.quieted)
	}
}
