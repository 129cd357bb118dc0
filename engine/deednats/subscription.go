package deednats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// subscription is one seat with what it has read ahead.
type subscription struct {
	c     *Conn
	spec  driver.SubscribeSpec
	topic *topic
	seat  *driverkit.Seat
	ready driverkit.Signal // a reader has something to tell
	room  driverkit.Signal // a reader may go on

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	closing sync.Once

	mu     sync.Mutex
	places map[int]*spotOf // by partition that may be fetched
	turn   int             // rotates who is first, so that no partition starves
}

// spotOf is how far a claimed partition is fetched.
type spotOf struct {
	reader *reader
	epoch  int64
	replay int64 // deliveries up to here are replays
	ahead  []driver.Delivery
	bytes  int
	given  int64 // delivered up to here
	wanted bool  // by another member
	begun  bool  // it is known whether there is anything to read
	since  time.Time
	stuck  error // why it cannot be read on
	told   error // what was reported of that
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
	t, err := c.lookup(ctx, spec.Topic)
	if err == nil {
		err = c.makeGroup(ctx, t, spec)
	}
	if err == nil {
		err = c.watch()
	}
	if err != nil {
		return nil, c.fail(what, err)
	}
	s := &subscription{c: c, spec: spec, topic: t, places: make(map[int]*spotOf)}
	s.ctx, s.stop = context.WithCancel(c.ctx)
	c.mu.Lock()
	c.lastSeat++
	name := fmt.Sprintf("%s/%d", c.member, c.lastSeat)
	if c.seats != nil {
		c.seats[name] = ownSeat{spec.Group, t, spec.Lease, spec.Unsafe}
	}
	c.mu.Unlock()
	if s.seat, err = c.keeper.Join(name, spec.Lease); err != nil {
		s.stop()
		return nil, c.fail(what, err)
	}
	return s, nil
}

// Receive implements [driver.Subscription].
func (s *subscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		changed, ready := s.seat.Changed(), s.ready.Wait()
		r, again, err := s.poll(ctx, f)
		if err != nil || r.Any() {
			return r, err
		}
		var soon <-chan time.Time
		if again > 0 {
			soon = time.After(again)
		}
		select {
		case <-changed:
		case <-ready:
		case <-soon:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return driver.Received{}, context.Cause(ctx)
		}
	}
}

// poll returns what there is to report now, and when to look again if that is not when
// something happens.
func (s *subscription) poll(ctx context.Context, f driver.Fetch) (r driver.Received, again time.Duration, err error) {
	if s.ctx.Err() != nil {
		return r, 0, s.fail("receive", driver.ErrClosed)
	}
	news := s.seat.News()
	if news.Gone {
		return r, 0, s.fail("receive", s.gone(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range news.Lost {
		s.leave(p)
	}
	for _, claim := range news.Granted {
		if err := s.enter(claim); err != nil {
			return r, 0, s.fail("receive", err)
		}
	}
	for _, p := range news.Wanted {
		if x := s.places[p]; x != nil {
			x.wanted, x.ahead, x.bytes = true, nil, 0
			x.reader.stop()
		}
	}
	r = driver.Received{Granted: news.Granted, Wanted: news.Wanted, Lost: news.Lost}
	if news.Any() || news.Paused {
		return r, 0, nil // at once: claims that are lost wait for no fetch
	}
	if again = s.beginning(); again == 0 {
		r.Deliveries = s.deliver(f)
	}
	for p, x := range s.places {
		if (x.stuck == nil) != (x.told == nil) {
			x.told = x.stuck
			r.Stopped = append(r.Stopped, driver.Stopped{Partition: p, Err: x.stuck})
		}
	}
	return r, again, nil
}

// allBegin is how long partitions that can be received wait for others that were granted
// with them, so that none is far ahead before the others have begun.
const allBegin = 3 * time.Second

// beginning returns how long to wait for partitions that have not begun yet.
func (s *subscription) beginning() (wait time.Duration) {
	for _, x := range s.places {
		if !x.begun {
			wait = max(wait, allBegin-time.Since(x.since))
		}
	}
	return wait
}

// gone is why a group that had members is not there any more.
func (s *subscription) gone(ctx context.Context) error {
	t, err := s.c.lookup(ctx, s.spec.Topic)
	switch {
	case err != nil:
		return err
	case t.life != s.topic.life:
		return errGone
	}
	doc, _, err := readDoc[groupDoc](ctx, s.c, s.c.names.group(t.life, s.spec.Group))
	if errors.Is(err, errNone) || code(err) == codeNoStream {
		return errLost // one that is deleted leaves its document
	}
	if err == nil && doc.isThere() == nil {
		s.c.keeper.Nudge()
		return errors.New("the group was made anew") // which the next view shows
	}
	return cmp.Or(err, errGone)
}

// enter begins to read a claimed partition. The caller holds s.mu, as for all below that
// do not say otherwise.
func (s *subscription) enter(claim driver.Claim) error {
	position, err := driverkit.ParsePosition(claim.Position)
	if err != nil {
		return err
	}
	s.leave(claim.Partition)
	j := s.c.journal(s.topic, s.spec.Group, claim.Partition)
	j.mu.Lock()
	committed := j.state.Committed
	j.mu.Unlock()
	r := &reader{s: s, partition: claim.Partition, epoch: claim.Epoch, read: position}
	r.ctx, r.stop = context.WithCancel(s.ctx)
	s.places[claim.Partition] = &spotOf{
		reader: r, epoch: claim.Epoch, replay: committed, given: position, since: time.Now(),
	}
	s.done.Go(r.run)
	return nil
}

// leave stops to read a partition.
func (s *subscription) leave(p int) {
	if x := s.places[p]; x != nil {
		x.reader.stop()
		delete(s.places, p)
	}
}

// placeOf returns where a reader's events go, nil when its claim is over.
func (s *subscription) placeOf(r *reader) *spotOf {
	if x := s.places[r.partition]; x != nil && x.reader == r {
		return x
	}
	return nil
}

// nothing says that a reader has nothing to read yet. It is called without s.mu.
func (s *subscription) nothing(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.placeOf(r); x != nil && !x.begun {
		x.begun = true
		s.ready.Notify()
	}
}

// arrived makes events wait to be received. It waits for room first, and is called
// without s.mu.
func (s *subscription) arrived(r *reader, ds []driver.Delivery) error {
	for {
		room := s.room.Wait()
		if s.put(r, ds) {
			return r.ctx.Err()
		}
		select {
		case <-room:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

func (s *subscription) put(r *reader, ds []driver.Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.placeOf(r)
	if x == nil || x.wanted || len(ds) == 0 {
		return true
	}
	x.begun = true
	if x.bytes >= aheadBytes {
		return false
	}
	for i := range ds {
		position, _ := driverkit.ParsePosition(ds[i].Position) // just written
		ds[i].Replay = position <= x.replay
		x.bytes += len(ds[i].Data)
	}
	x.ahead = append(x.ahead, ds...)
	s.ready.Notify()
	return true
}

// troubled says why a partition cannot be read on, or that it can. What may pass by itself
// is not reported. It is called without s.mu.
func (s *subscription) troubled(r *reader, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.placeOf(r)
	if x == nil {
		return
	}
	if x.stuck = nil; err != nil {
		x.begun = true
		s.ready.Notify()
	}
	if errors.Is(err, errForeign) || errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrRefused) {
		x.stuck = s.fail("read", err)
	}
	if (x.stuck == nil) != (x.told == nil) {
		s.ready.Notify()
	}
}

// regressed sets the group back to where the log ends that the server has left, or where
// it continues in another way, so that nothing new is passed over. It is called without
// s.mu.
func (s *subscription) regressed(r *reader, position int64) error {
	err := s.c.journal(s.topic, s.spec.Group, r.partition).step(r.ctx, func(x *state) (*entry, error) {
		if x.Epoch != r.epoch {
			return nil, nil
		}
		return &entry{Op: opBack, Position: position}, nil
	})
	s.c.keeper.Nudge()
	return err
}

// deliver takes what was read ahead, within the bounds of f.
func (s *subscription) deliver(f driver.Fetch) (out []driver.Delivery) {
	out, s.turn = driverkit.Deal(f, s.turn, len(s.topic.parts),
		func(p int) []driver.Delivery {
			if x := s.places[p]; x != nil && !x.wanted {
				return x.ahead
			}
			return nil
		},
		func(p, events int) {
			x := s.places[p]
			for i := range events {
				x.bytes -= len(x.ahead[i].Data)
			}
			x.given, _ = driverkit.ParsePosition(x.ahead[events-1].Position)
			if x.ahead = x.ahead[events:]; len(x.ahead) == 0 {
				x.ahead = nil
			}
			s.room.Notify()
		})
	return out
}

// Close implements [driver.Subscription].
func (s *subscription) Close() error {
	var err error
	s.closing.Do(func() {
		s.stop()
		s.done.Wait()
		ctx, cancel := context.WithTimeout(s.c.ctx, 2*time.Second)
		defer cancel()
		if s.c.nc.IsConnected() { // else its lease ends it
			err = s.c.keeper.Leave(ctx, s.seat)
		}
		if s.c.ctx.Err() != nil {
			err = nil // the Conn's Close removes the seat
		}
		s.c.mu.Lock()
		delete(s.c.seats, s.seat.Name())
		s.c.mu.Unlock()
	})
	return s.fail("leave", err)
}

func (s *subscription) fail(what string, err error) error {
	return s.c.fail(what+" "+s.spec.Group+" on "+s.spec.Topic, err)
}
