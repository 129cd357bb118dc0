package deedmem

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Subscription is one member of a group on one topic.
type Subscription struct {
	conn  *Conn
	group *group
	name  string
	lease time.Duration
	wake  chan struct{} // has room for one, sent to when a waiting Receive should look

	// The rest is guarded by store.mu.
	granted []int // not yet told to the member, as the next two
	wanted  []int
	lost    []int
	turn    int // where the next fetch starts, so that no partition starves
	waiting bool
	closed  bool
	frozen  time.Time   // when it stopped renewing, zero while it lives
	lapse   *time.Timer // ends a frozen member
}

// Subscribe joins a group; see driver.Conn.
func (c *Conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if spec.Group == "" || spec.Lease <= 0 {
		return nil, fmt.Errorf("mem: subscribe to %q: group %q with lease %v (want a name and a positive time): %w",
			spec.Topic, spec.Group, spec.Lease, driver.ErrRefused)
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(spec.Topic)
	if err != nil {
		return nil, err
	}
	g := t.groups[spec.Group]
	if g == nil {
		if g, err = c.store.newGroup(t, spec); err != nil {
			return nil, err
		}
		t.groups[spec.Group] = g
	}
	g.unsafe = slices.Clone(spec.Unsafe)
	c.store.members++
	s := &Subscription{
		conn: c, group: g, name: fmt.Sprintf("mem-%d", c.store.members),
		lease: spec.Lease, wake: make(chan struct{}, 1),
	}
	c.subs[s] = struct{}{}
	g.members = append(g.members, s)
	g.balance()
	return s, nil
}

// newGroup makes a group that starts where spec says.
func (s *store) newGroup(t *topic, spec driver.SubscribeSpec) (*group, error) {
	g := &group{name: spec.Group, store: s, topic: t, created: now(), readings: make([]*reading, len(t.parts))}
	start, err := g.start(spec.From)
	if err != nil {
		return nil, err
	}
	for i := range g.readings {
		g.readings[i] = &reading{position: start[i]}
	}
	return g, nil
}

// Receive waits for claims and events; see driver.Subscription.
func (s *Subscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		if err := ctx.Err(); err != nil {
			return driver.Received{}, err
		}
		got, err := s.take(f)
		if err != nil || len(got.Deliveries)+len(got.Granted)+len(got.Wanted)+len(got.Lost) > 0 {
			return got, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return driver.Received{}, ctx.Err()
		}
	}
}

// take returns what there is now. When that is nothing, the next change wakes s.
func (s *Subscription) take(f driver.Fetch) (driver.Received, error) {
	st := s.conn.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := s.usable(); err != nil {
		return driver.Received{}, err
	}
	got := driver.Received{Wanted: s.wanted, Lost: s.lost}
	for _, p := range s.granted {
		got.Granted = append(got.Granted, s.group.claim(p))
	}
	s.granted, s.wanted, s.lost = nil, nil, nil
	got.Deliveries = s.fetch(f)
	s.waiting = len(got.Deliveries)+len(got.Granted)+len(got.Wanted)+len(got.Lost) == 0
	return got, nil
}

// usable reports why s cannot be used any more.
func (s *Subscription) usable() error {
	if s.closed {
		return fmt.Errorf("mem: group %q on topic %q: %w", s.group.name, s.group.topic.info.Name, driver.ErrClosed)
	}
	if s.group.topic.deleted {
		return fmt.Errorf("mem: topic %q was deleted: %w", s.group.topic.info.Name, driver.ErrNotFound)
	}
	return nil
}

// span is events of one partition: after from, up to to. Those up to replay are
// replays.
type span struct {
	partition        int
	from, to, replay int64
}

// fetch takes events from the partitions that s owns, within the bounds of f.
func (s *Subscription) fetch(f driver.Fetch) []driver.Delivery {
	g := s.group
	if g.paused || f.Events < 1 {
		return nil
	}
	var room [32]span
	spans, events, bytes := room[:0], 0, 0
	for i := range g.readings {
		p := (s.turn + i) % len(g.readings)
		r := g.readings[p]
		if r.owner != s || r.wanted || slices.Contains(f.Full, p) {
			continue
		}
		l := &g.topic.parts[p].log
		from := max(r.fetched, l.base)
		to, full := from, false
		for ; to < l.last && !full; to++ {
			n := int(l.at(to + 1).bytes)
			if events == f.Events || events > 0 && bytes+n > f.Bytes {
				full = true
				break
			}
			events++
			bytes += n
		}
		if to > from {
			spans = append(spans, span{p, from, to, r.committed})
			r.fetched = to
		}
		if full {
			s.turn = (p + 1) % len(g.readings)
			break
		}
	}
	if events == 0 {
		return nil
	}
	return g.topic.copyOut(spans, events, bytes)
}

// copyOut makes deliveries of events. Their data is copied to one block, so that
// nothing a handler does to its bytes reaches another group. The positions share one
// string.
func (t *topic) copyOut(spans []span, events, bytes int) []driver.Delivery {
	out := make([]driver.Delivery, events)
	block := make([]byte, 0, bytes)
	digits := 0
	for _, sp := range spans {
		digits += int(sp.to-sp.from) * width(sp.to)
	}
	var positions strings.Builder
	positions.Grow(digits)
	rest := out
	for _, sp := range spans {
		l := &t.parts[sp.partition].log
		for pos := sp.from + 1; pos <= sp.to; pos++ {
			d := &rest[0]
			rest = rest[1:]
			l.read(pos, d)
			start := len(block)
			block = append(block, d.Data...)
			d.Data = block[start:len(block):len(block)]
			start = positions.Len()
			var number [20]byte
			positions.Write(strconv.AppendInt(number[:0], pos, 10))
			d.Position = positions.String()[start:]
			d.Partition, d.Replay = sp.partition, pos <= sp.replay
		}
	}
	return out
}

// width returns how many digits n has.
func width(n int64) int {
	w := 1
	for ; n >= 10; n /= 10 {
		w++
	}
	return w
}

// notify wakes a waiting Receive.
func (s *Subscription) notify() {
	if !s.waiting {
		return
	}
	s.waiting = false
	select {
	case s.wake <- struct{}{}:
	default: // one signal is enough: Receive looks at everything
	}
}

// Settle stores progress; see driver.Subscription.
func (s *Subscription) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st := s.conn.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	positions := make([]int64, len(settlements))
	for i := range settlements {
		if positions[i], err = s.group.settles(&settlements[i]); err != nil {
			return nil, err
		}
	}
	released := false
	for i := range settlements {
		x := &settlements[i]
		r := s.group.readings[x.Partition]
		if x.Epoch != r.epoch {
			lost = append(lost, x.Partition)
			continue
		}
		r.settle(positions[i], x)
		if x.Release {
			s.release(x.Partition)
			released = true
		}
	}
	if released {
		s.group.balance()
	}
	return lost, nil
}

// settles reads a settlement's position and reports what is wrong with it.
func (g *group) settles(x *driver.Settlement) (int64, error) {
	if x.Partition < 0 || x.Partition >= len(g.readings) {
		return 0, fmt.Errorf("mem: topic %q has %d partitions and no number %d: %w",
			g.topic.info.Name, len(g.readings), x.Partition, driver.ErrRefused)
	}
	pos, err := driverkit.ParsePosition(x.Position)
	if err == nil && pos > g.topic.parts[x.Partition].last {
		err = fmt.Errorf("mem: topic %q partition %d ends before position %s: %w",
			g.topic.info.Name, x.Partition, x.Position, driver.ErrRefused)
	}
	return pos, err
}

// settle moves the position, never back, and drops the marks that it passes.
func (r *reading) settle(pos int64, x *driver.Settlement) {
	r.rate, r.status = x.Rate, x.Status
	if pos <= r.position {
		return
	}
	r.position, r.committed = pos, max(r.committed, pos)
	for at := range r.marks {
		if at <= pos {
			delete(r.marks, at)
		}
	}
}

// Close leaves the group; see driver.Subscription.
func (s *Subscription) Close() error {
	s.conn.store.mu.Lock()
	defer s.conn.store.mu.Unlock()
	s.close()
	return nil
}

func (s *Subscription) close() {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.conn.subs, s)
	s.leave()
	s.notify()
}
