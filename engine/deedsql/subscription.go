package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// errDeleted tells a member that there is nothing left to be a member of.
var errDeleted = fmt.Errorf("%w: the topic or group was deleted", driver.ErrNotFound)

// subscription is one seat with its reading positions.
type subscription struct {
	c     *Conn
	spec  driver.SubscribeSpec
	topic *topic
	group int64
	seat  *driverkit.Seat

	closed  chan struct{}
	closing sync.Once

	// Owned by Receive.
	next    map[int]int64 // last position fetched, by partition that may be fetched
	turn    int           // rotates who is first, so that no partition starves
	stopped map[int]bool  // wanted by another member
	ends    map[int]int64 // last position stored, by partition, as of the last look at the file
	removed map[int]int64 // up to here they are gone, by partition
	looked  int64         // commits elsewhere before that look
	replay  map[int]int64 // deliveries up to here are replays, by partition
}

// Subscribe implements [driver.Conn].
func (c *Conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	what := "subscribe " + spec.Group + " to " + spec.Topic
	if spec.Group == "" || spec.Lease <= 0 {
		return nil, c.fail(what, fmt.Errorf("%w: a group needs a name and a lease", driver.ErrRefused))
	}
	s := &subscription{
		c: c, spec: spec, closed: make(chan struct{}), next: make(map[int]int64), stopped: make(map[int]bool),
		replay: make(map[int]int64), removed: make(map[int]int64), ends: make(map[int]int64),
	}
	unsafe := listValue(spec.Unsafe)
	err := c.write(ctx, 0, func(t *tx) (err error) {
		if s.topic, err = t.topic(spec.Topic); err != nil {
			return err
		}
		if s.group, err = t.group(s.topic, spec.Group, spec.From); err != nil {
			return err
		}
		_, err = t.exec("UPDATE deed_group SET unsafe = ? WHERE id = ?", unsafe, s.group)
		return err
	})
	if err != nil {
		return nil, c.fail(what, err)
	}
	c.watch()
	c.moves(s.topic.id)
	c.mu.Lock()
	c.lastSeat++
	name := fmt.Sprintf("%s/%d", c.member, c.lastSeat)
	c.seats[name] = ownSeat{s.group, unsafe}
	c.mu.Unlock()
	if s.seat, err = c.keeper.Join(name, spec.Lease); err != nil {
		return nil, c.fail(what, err)
	}
	return s, nil
}

// Receive implements [driver.Subscription].
func (s *subscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		published, changed, anywhere := s.c.published(s.topic.id).Wait(), s.seat.Changed(), s.c.anywhere.Wait()
		r, err := s.poll(f)
		if err != nil || r.Any() {
			return r, err
		}
		select {
		case <-published:
		case <-changed:
		case <-anywhere:
		case <-s.closed:
		case <-s.c.ctx.Done():
		case <-ctx.Done():
			return driver.Received{}, context.Cause(ctx)
		}
	}
}

// poll returns what there is to report now.
func (s *subscription) poll(f driver.Fetch) (driver.Received, error) {
	select {
	case <-s.closed:
		return driver.Received{}, s.fail("receive", driver.ErrClosed)
	case <-s.c.ctx.Done():
		return driver.Received{}, s.fail("receive", driver.ErrClosed)
	default:
	}
	news := s.seat.News()
	if news.Gone {
		return driver.Received{}, s.fail("receive", errDeleted)
	}
	for _, p := range news.Lost {
		delete(s.next, p)
		delete(s.stopped, p)
	}
	for _, c := range news.Granted {
		at, err := driverkit.ParsePosition(c.Position)
		if err != nil {
			return driver.Received{}, s.fail("receive", err)
		}
		replay, err := s.replayed(c)
		if err != nil {
			return driver.Received{}, s.fail("receive", err)
		}
		s.next[c.Partition], s.replay[c.Partition] = at, replay
		delete(s.stopped, c.Partition)
		delete(s.ends, c.Partition)
	}
	for _, p := range news.Wanted {
		s.stopped[p] = true
	}
	r := driver.Received{Granted: news.Granted, Wanted: news.Wanted, Lost: news.Lost}
	if news.Any() {
		return r, nil // at once: claims that are lost wait for no fetch
	}
	if news.Paused {
		return r, nil
	}
	var err error
	r.Deliveries, err = s.fetch(f)
	return r, s.fail("receive", err)
}

// Settle implements [driver.Subscription].
func (s *subscription) Settle(ctx context.Context, settlements []driver.Settlement) ([]int, error) {
	select {
	case <-s.closed:
		return nil, s.fail("settle", driver.ErrClosed)
	default:
	}
	ats := make([]int64, len(settlements))
	for i, st := range settlements {
		var err error
		if ats[i], err = driverkit.ParsePosition(st.Position); err != nil {
			return nil, s.fail("settle", err)
		}
	}
	s.seat.Settling(settlements)
	var locks []lock
	if slices.ContainsFunc(settlements, func(st driver.Settlement) bool { return st.Release }) {
		locks = []lock{groupLock(s.group)}
	}
	var lost []int
	err := s.c.write(ctx, 0, func(t *tx) error {
		lost = lost[:0]
		var there int
		err := t.row("SELECT 1 FROM deed_group WHERE id = ?", []any{s.group}, &there)
		if errors.Is(err, sql.ErrNoRows) {
			return errDeleted
		}
		if err != nil {
			return err
		}
		for i, st := range settlements {
			ok, err := t.settle(s.group, s.seat.Name(), ats[i], st)
			if err != nil {
				return err
			}
			if !ok {
				lost = append(lost, st.Partition)
			} else if err := s.c.forgetHandled(t, s.group, st.Partition); err != nil {
				return err
			}
		}
		return nil
	}, locks...)
	if err != nil {
		lost = nil
	}
	if err == nil {
		for i, st := range settlements {
			s.c.joints.settle(jointKey{s.spec.Group, s.spec.Topic, st.Partition}, st.Epoch, ats[i])
		}
	}
	s.seat.Settled(settlements, lost, err)
	return lost, s.fail("settle", err)
}

// settle stores the progress of one claim and reports whether it still holds.
func (t *tx) settle(group int64, seat string, at int64, s driver.Settlement) (bool, error) {
	fence, args := " AND epoch = ? AND seat = ?", []any{s.Epoch, seat}
	if seeded("epoch") {
		fence, args = "", nil
	}
	args = append([]any{at, at, at, at, s.Rate, storable(s.Status), group, s.Partition}, args...)
	n, err := t.dialect.updateClaim(t, claimKey{group, s.Partition},
		"UPDATE deed_claim SET position = CASE WHEN position < ? THEN ? ELSE position END, "+
			"committed = CASE WHEN committed < ? THEN ? ELSE committed END, rate = ?, status = ? "+
			"WHERE group_id = ? AND partition = ?"+fence, args...)
	if err != nil || n == 0 {
		return false, err
	}
	if at > 0 {
		_, err := t.exec("DELETE FROM deed_mark WHERE group_id = ? AND partition = ? AND position <= ?",
			group, s.Partition, at)
		if err != nil {
			return false, err
		}
	}
	if !s.Release {
		return true, nil
	}
	_, err = t.exec("UPDATE deed_claim SET seat = '', clean = 1, rate = 0, status = '' "+
		"WHERE group_id = ? AND partition = ?",
		group, s.Partition)
	if err != nil {
		return false, err
	}
	return true, t.regroup(group)
}

// Close implements [driver.Subscription].
func (s *subscription) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.closed)
		err = s.c.keeper.Leave(s.c.ctx, s.seat)
		if errors.Is(err, driver.ErrClosed) || s.c.ctx.Err() != nil {
			err = nil // the Conn's Close removes the seat
		}
		s.c.mu.Lock()
		delete(s.c.seats, s.seat.Name())
		s.c.mu.Unlock()
	})
	return s.fail("leave", err)
}

// Paused implements [driverkit.Ledger].
func (c *Conn) Paused(sub driver.Subscription) (bool, <-chan struct{}) {
	s, ok := sub.(*subscription)
	if !ok {
		return false, nil
	}
	changed := s.seat.Changed()
	return s.seat.Paused(), changed
}

// Replays implements [driverkit.Ledger].
func (c *Conn) Replays(sub driver.Subscription, claim driver.Claim) (string, error) {
	s, ok := sub.(*subscription)
	if !ok {
		return "", fmt.Errorf("%w: the subscription is %T", driver.ErrRefused, sub)
	}
	at, err := s.replayed(claim)
	return driverkit.Position(at), s.fail("replays of", err)
}

func (s *subscription) fail(what string, err error) error {
	return s.c.fail(what+" "+s.spec.Group+" on "+s.spec.Topic, err)
}
