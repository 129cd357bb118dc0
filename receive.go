package deed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// topicRun is a group's part on one topic.
type topicRun struct {
	g        *groupRun
	topic    *Topic
	name     string
	side     driver.SideLog
	log      *slog.Logger
	handlers map[string]*handler
	any      *handler
	kick     chan struct{} // there is something to store

	// Guarded by the group's mutex.
	sub       driver.Subscription
	lost      bool // the engine has lost what sub is about: it is closed
	parts     map[int]*partition
	passed    int                // events of types without a handler
	quieted   int                // replayed events that a quiet reset keeps from their handlers
	interrupt context.CancelFunc // ends the Receive in progress
	moved     bool               // a watermark has moved since positions were settled
	starved   bool               // the Receive in progress leaves something out for want of room
	losses    losses             // of a listener
}

func (t *topicRun) handlerFor(d *driver.Delivery) *handler {
	if d.Unreadable != "" {
		return unreadable(d.Unreadable)
	}
	if h := t.handlers[d.Type]; h != nil {
		return h
	}
	return t.any
}

// unreadable handles an event of which even the type may be unknown.
func unreadable(why string) *handler {
	return &handler{call: func(context.Context, Received[[]byte]) error { return undecodable(errors.New(why)) }}
}

const (
	receiveBytes    = 4 << 20 // data of one fetch
	receivePauseMin = 50 * time.Millisecond
	receivePauseMax = 5 * time.Second
)

// receive fetches events until ctx ends. It returns an error when it cannot go on.
func (t *topicRun) receive(ctx context.Context) error {
	pause := receivePauseMin
	for ctx.Err() == nil {
		got, err := t.next(ctx)
		if err == nil {
			pause = receivePauseMin
			t.apply(ctx, got)
			continue
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, context.Canceled): // interrupted: there is more room now
			continue
		case errors.Is(err, driver.ErrClosed), errors.Is(err, driver.ErrRefused), errors.Is(err, driver.ErrNotFound):
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
		t.log.Warn("deed: fetching failed, trying again", "error", err, "pause", pause.String())
		select {
		case <-time.After(pause):
			pause = min(2*pause, receivePauseMax)
		case <-ctx.Done():
		}
	}
	return nil
}

// next fetches events, after it has joined the group anew where the engine lost it.
func (t *topicRun) next(ctx context.Context) (got driver.Received, err error) {
	if !t.lost {
		if got, err = t.fetch(ctx); !errors.Is(err, driver.ErrLost) {
			return got, err
		}
		t.abandon(err)
	}
	return driver.Received{}, t.rejoin(ctx)
}

// fetch asks the engine for as much as there is room for.
func (t *topicRun) fetch(ctx context.Context) (driver.Received, error) {
	g := t.g
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()

	g.mu.Lock()
	f := driver.Fetch{Events: windowMax, Bytes: min(g.sub.opts.InFlightBytes-g.bytes, receiveBytes)}
	t.starved = false
	for i, p := range t.parts {
		if p.full = f.Bytes <= 0 || !p.room(); p.full {
			f.Full = append(f.Full, i)
			t.starved = true
			continue
		}
		f.Events = min(f.Events, windowMax-p.window.len()) // they may be all of one partition
	}
	f.Bytes = max(f.Bytes, 1)
	t.interrupt = interrupt
	g.mu.Unlock()

	got, err := t.sub.Receive(ctx, f)

	g.mu.Lock()
	t.interrupt, t.starved = nil, false
	g.mu.Unlock()
	return got, err
}

// refetch ends the Receives in progress that leave out a partition which has room
// again. The caller holds g.mu.
func (g *groupRun) refetch() {
	if g.bytes > g.sub.opts.InFlightBytes/2 {
		return
	}
	for _, t := range g.topics {
		t.refetch()
	}
}

func (t *topicRun) refetch() {
	if !t.starved || t.interrupt == nil {
		return
	}
	for _, p := range t.parts {
		if p.full && !p.wanted && p.window.len() <= windowMax/2 && p.room() {
			t.starved = false
			t.interrupt()
			return
		}
	}
}

// apply takes over what Receive returned.
func (t *topicRun) apply(ctx context.Context, got driver.Received) {
	t.g.mu.Lock()
	for _, i := range got.Lost {
		if p := t.parts[i]; p != nil {
			t.log.Warn("deed: a partition was lost", "partition", i, "epoch", p.claim.Epoch)
			p.drop(ErrClaimLost)
		}
	}
	t.g.mu.Unlock()
	for _, c := range got.Granted {
		t.grant(ctx, c)
	}
	g, items := t.g, t.items(got.Deliveries)
	g.mu.Lock()
	defer g.mu.Unlock()
	t.missed(got.Missed)
	for _, s := range got.Stopped {
		if p := t.parts[s.Partition]; p != nil {
			t.stopped(p, s.Err)
		}
	}
	var p *partition
	for i := range items {
		it := &items[i]
		if p == nil || p.claim.Partition != it.Partition {
			p = t.parts[it.Partition]
		}
		if p != nil && !p.wanted { // else given up since: the next owner gets it
			p.accept(it)
		}
	}
	for _, i := range got.Wanted {
		if p := t.parts[i]; p != nil && !p.wanted {
			t.yield(p)
		}
	}
}

// stopped takes over that a partition cannot be read on, or can again. The caller
// holds g.mu.
func (t *topicRun) stopped(p *partition, err error) {
	if err == nil {
		t.log.Info("deed: a partition that had stopped goes on", "partition", p.claim.Partition)
		p.stop = ""
		return
	}
	t.log.Error("deed: a partition has stopped, the others go on", "partition", p.claim.Partition, "error", err)
	p.stop = "stopped: " + err.Error()
}

// items makes work of deliveries, as far as that takes no lock. The positions share
// one string.
func (t *topicRun) items(ds []driver.Delivery) []item {
	items := make([]item, len(ds))
	var room [4096]byte
	text := room[:0]
	for i := range ds {
		text = append(strconv.AppendInt(text, int64(ds[i].Partition), 10), '-')
		text = append(text, ds[i].Position...)
	}
	all := string(text)
	for i := range items {
		it, d := &items[i], &ds[i]
		n := strings.IndexByte(all, '-') + 1 + len(d.Position)
		it.Delivery, it.at, all = d, all[:n], all[n:]
		if i > 0 && ds[i-1].Type == d.Type && ds[i-1].Unreadable == d.Unreadable {
			it.h = items[i-1].h
		} else {
			it.h = t.handlerFor(d)
		}
	}
	return items
}

// yield starts handing a partition over: what runs may finish until the drain
// deadline. The caller holds g.mu.
func (t *topicRun) yield(p *partition) {
	p.wanted = true
	t.g.after(t.g.bus.opts.Drain, func() { p.cancel(ErrClaimLost) })
	t.wake()
}

// grant takes a claimed partition over: it learns what is parked and what was
// tried before any event of it is handled.
func (t *topicRun) grant(ctx context.Context, c driver.Claim) {
	pause := receivePauseMin
	for {
		p, err := t.takeOver(ctx, c)
		if err == nil {
			t.g.mu.Lock()
			if old := t.parts[c.Partition]; old != nil {
				old.drop(ErrClaimLost)
			}
			t.parts[c.Partition] = p
			t.g.mu.Unlock()
			t.wake() // the side log may hold something that is due
			return
		}
		if ctx.Err() != nil || errors.Is(err, driver.ErrFenced) || errors.Is(err, driver.ErrClosed) {
			return // it is somebody else's by now
		}
		t.log.Warn("deed: taking a partition over failed, trying again", "partition", c.Partition, "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, receivePauseMax)
		case <-ctx.Done():
			return
		}
	}
}

func (t *topicRun) takeOver(ctx context.Context, c driver.Claim) (*partition, error) {
	marks, err := t.side.Marks(ctx, c)
	if err != nil {
		return nil, err
	}
	parked, partial, err := t.parkedKeys(ctx, c)
	if err != nil {
		return nil, err
	}
	p := newPartition(t, c)
	p.parked, p.partial = parked, partial
	p.attempts = make(map[string]driver.Mark, len(marks))
	for _, m := range marks {
		p.attempts[m.Position] = m
	}
	t.log.Debug("deed: partition taken over",
		"partition", c.Partition, "epoch", c.Epoch, "position", c.Position, "suspect", c.Suspect, "parked", len(p.parked))
	return p, nil
}

// parkedKeys loads the keys that hold events back, or only some of them when there
// are too many.
func (t *topicRun) parkedKeys(ctx context.Context, c driver.Claim) (map[string]struct{}, bool, error) {
	keys, err := t.side.ParkedKeys(ctx, c, parkedMax+1)
	if err != nil {
		return nil, false, err
	}
	parked := make(map[string]struct{}, len(keys))
	for _, key := range keys {
		parked[key] = struct{}{}
	}
	return parked, len(keys) > parkedMax, nil
}

// wake tells the settler that there is something to store.
func (t *topicRun) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}
