package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// subscription is one seat with what it has read ahead.
type subscription struct {
	c     *Conn
	spec  driver.SubscribeSpec
	topic *topic
	seat  *driverkit.Seat
	ready driverkit.Signal // a reader has finished

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	closing sync.Once

	// Owned by Receive.
	readers []*reader
	places  map[int]*place // by partition that may be fetched
	turn    int            // rotates who is first, so that no partition starves

	mu     sync.Mutex
	stored map[int]driver.Settlement // the last that was, by partition
}

// place is how far a claimed partition is fetched.
type place struct {
	epoch   int64
	next    position // read up to here
	replay  position // deliveries up to here are replays
	stopped bool     // wanted by another member
	ahead   []driver.Delivery
	stuck   error     // why it cannot be read on
	look    time.Time // when to try again
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
	if err != nil {
		return nil, c.fail(what, err)
	}
	if err := c.makeGroup(ctx, t, spec); err != nil {
		return nil, c.fail(what, err)
	}
	c.watch()
	c.moves(spec.Topic)
	s := &subscription{c: c, spec: spec, topic: t, places: make(map[int]*place), stored: make(map[int]driver.Settlement)}
	s.ctx, s.stop = context.WithCancel(c.ctx)
	s.addReaders()
	c.mu.Lock()
	c.lastSeat++
	name := fmt.Sprintf("%s/%d", c.member, c.lastSeat)
	if c.seats != nil {
		c.seats[name] = ownSeat{spec.Group, spec.Topic, t.info.Incarnation, t.info.Partitions, listValue(spec.Unsafe)}
	}
	c.mu.Unlock()
	if s.seat, err = c.keeper.Join(name, spec.Lease); err != nil {
		s.end()
		return nil, c.fail(what, err)
	}
	return s, nil
}

// makeGroup makes what is missing of a group.
func (c *Conn) makeGroup(ctx context.Context, t *topic, spec driver.SubscribeSpec) error {
	calls, err := c.starts(t, spec.Group, spec.From)
	if err != nil {
		return err
	}
	keys := []string{c.keys.groups(spec.Topic), c.keys.group(spec.Topic, spec.Group), c.keys.topic(spec.Topic)}
	now := strconv.FormatInt(time.Now().UnixNano(), 10)
	made, err := c.run(ctx, groupScript, keys, spec.Group, now, listValue(spec.Unsafe), deletedGroup+spec.Group)
	if err != nil {
		return err
	}
	err = c.begin(ctx, calls)
	if word, _ := made.ToString(); errors.Is(err, driver.ErrRefused) && word == "new" {
		// It cannot begin there. Any other error leaves it half made, for whoever joins next
		// to go on with: another member may have joined meanwhile.
		return errors.Join(err, c.forget(context.WithoutCancel(ctx), t, spec.Group))
	}
	return err
}

// starts returns the calls that let a group begin where from says.
func (c *Conn) starts(t *topic, group string, from driver.From) ([]call, error) {
	for p := range from.Cursor {
		if p < 0 || p >= t.info.Partitions {
			return nil, fmt.Errorf("%w: the cursor names partition %d, topic %s has %d",
				driver.ErrRefused, p, t.info.Name, t.info.Partitions)
		}
	}
	calls := make([]call, t.info.Partitions)
	for p := range calls {
		mode, at := "first", ""
		switch {
		case from.End:
			mode = "end"
		case !from.Time.IsZero():
			mode, at = "time", millisUp(from.Time)
		case from.Cursor[p] != "":
			pos, err := parsePosition(from.Cursor[p])
			if err != nil {
				return nil, err
			}
			mode, at = "position", pos.String()
		}
		calls[p] = call{startScript, t.keys[p][:2], []string{group, mode, at}}
	}
	return calls, nil
}

// millisUp is the first millisecond that is not before t.
func millisUp(t time.Time) string {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) > 0 {
		ms++
	}
	return strconv.FormatInt(max(ms, 0), 10)
}

// begin runs calls of start.lua.
func (c *Conn) begin(ctx context.Context, calls []call) error {
	for p, r := range c.runAll(ctx, calls) {
		answer, err := r.AsStrSlice()
		if err != nil {
			return err
		}
		switch answer[0] {
		case "absent":
			return fmt.Errorf("%w: partition %d has no marker", driver.ErrNotFound, p)
		case "beyond":
			return fmt.Errorf("%w: partition %d ends at %q, the group would start after %s",
				driver.ErrRefused, p, answer[1], calls[p].args[2])
		}
	}
	return nil
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
	for _, p := range news.Lost {
		delete(s.places, p)
	}
	if err := s.take(ctx, news.Granted); err != nil {
		return r, 0, s.fail("receive", err)
	}
	for _, p := range news.Wanted {
		if place := s.places[p]; place != nil {
			place.stopped, place.ahead = true, nil
		}
	}
	r = driver.Received{Granted: news.Granted, Wanted: news.Wanted, Lost: news.Lost}
	if news.Any() || news.Paused {
		return r, 0, nil // at once: claims that are lost wait for no fetch
	}
	err = s.collect(ctx, &r)
	if r.Lost != nil {
		return r, 0, nil // what failed beside is met again
	}
	if err != nil {
		return r, 0, s.fail("receive", err)
	}
	r.Deliveries = s.deliver(f)
	again = s.read(f)
	return r, again, nil
}

// take makes places for claims.
func (s *subscription) take(ctx context.Context, claims []driver.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	cmds := make(rueidis.Commands, len(claims))
	for i, c := range claims {
		cmds[i] = s.c.client.B().Hget().Key(s.c.keys.claim(c.Topic, c.Partition, c.Group)).Field("replay").Build()
	}
	results := s.c.client.DoMulti(context.WithoutCancel(ctx), cmds...) // News tells of a claim once
	for i, c := range claims {
		text, err := results[i].ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		x := &place{epoch: c.Epoch}
		if x.replay, err = parsePosition(text); err == nil {
			x.next, err = parsePosition(c.Position)
		}
		if err != nil {
			return err
		}
		s.places[c.Partition] = x
	}
	return nil
}

// deliver takes what was read ahead, within the bounds of f.
func (s *subscription) deliver(f driver.Fetch) (out []driver.Delivery) {
	out, s.turn = driverkit.Deal(f, s.turn, s.topic.info.Partitions,
		func(p int) []driver.Delivery {
			if x := s.places[p]; x != nil && !x.stopped {
				return x.ahead
			}
			return nil
		},
		func(p, events int) {
			x := s.places[p]
			if x.ahead = x.ahead[events:]; len(x.ahead) == 0 {
				x.ahead = nil
			}
		})
	return out
}

// Settle implements [driver.Subscription].
func (s *subscription) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	if s.ctx.Err() != nil {
		return nil, s.fail("settle", driver.ErrClosed)
	}
	calls := make([]call, len(settlements))
	for i, st := range settlements {
		if st.Partition < 0 || st.Partition >= len(s.topic.keys) {
			return nil, s.fail("settle", fmt.Errorf("%w: there is no partition %d", driver.ErrRefused, st.Partition))
		}
		if _, err := parsePosition(st.Position); err != nil {
			return nil, s.fail("settle", err)
		}
		keys := s.topic.keys[st.Partition]
		calls[i] = call{settleScript, []string{keys[0] + ":group:" + s.spec.Group, keys[0], keys[1]}, []string{
			s.seat.Name(), s.c.under(keys[0]+":group:"+s.spec.Group, st.Epoch), st.Position,
			strconv.FormatFloat(st.Rate, 'g', -1, 64), st.Status, flag(st.Release), s.spec.Group,
			s.storedBefore(st.Partition, st.Epoch)}}
	}
	s.seat.Settling(settlements)
	released := false
	for i, r := range s.c.runAll(ctx, calls) {
		word, e := r.ToString()
		if e == nil {
			e = settleError(word)
		}
		st := settlements[i]
		switch {
		case e != nil:
			err = errors.Join(err, e)
			if st.Release {
				s.seat.Kept(st.Partition, st.Epoch)
			}
		case word == "lost" || word == "beyond": // with what the server has lost
			lost = append(lost, st.Partition)
			s.seat.Forget(st.Partition, st.Epoch)
		case st.Release:
			released = true
			s.seat.Released(st.Partition, st.Epoch)
		default:
			s.note(st)
		}
	}
	if released {
		s.c.announce(ctx, s.spec.Topic)
	}
	if err != nil {
		return nil, s.fail("settle", err)
	}
	return lost, nil
}

// settleError is what a word of settle.lua means.
func settleError(word string) error {
	if word == "gone" {
		return errGone
	}
	return nil
}

// Close implements [driver.Subscription].
func (s *subscription) Close() error {
	var err error
	s.closing.Do(func() {
		s.end()
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

// end stops the readers.
func (s *subscription) end() {
	s.stop()
	for _, r := range s.readers {
		r.disconnect()
	}
	s.done.Wait()
}

func (s *subscription) fail(what string, err error) error {
	return s.c.fail(what+" "+s.spec.Group+" on "+s.spec.Topic, err)
}
