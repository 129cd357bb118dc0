package driverkit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// fedSub is a member: its claims are those that it has in the state, and the log feeds the
// partitions that it has.
type fedSub struct {
	c    *fed
	spec driver.SubscribeSpec
	seat driver.Subscription // in the state
	feed Feed

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	closing sync.Once
	heard   Signal // something is to be told

	mu      sync.Mutex
	claims  map[int]*fedClaim
	news    []driver.Received // of the state, not told yet
	trouble error             // to be told once
	over    error             // why there is nothing more
}

// fedClaim is a partition that this member has.
type fedClaim struct {
	driver.Claim
	replay string // events up to here are replays
	told   bool   // the caller knows of it
	wanted bool   // and of this
}

// Subscribe implements [driver.Conn].
func (c *fed) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	what := fmt.Sprintf("%s: subscribe %s to %s", c.features.Engine, spec.Group, spec.Topic)
	info, err := c.look(ctx, spec.Topic)
	if err != nil {
		return nil, err
	}
	groups, err := c.groupsOf(ctx, spec.Topic)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	known := slices.Contains(groups, spec.Group)
	if !known && c.logs == nil && (!spec.From.Time.IsZero() || spec.From.Cursor != nil) {
		return nil, fmt.Errorf("%s: %w: a group starts when it is made, and cannot get what was published before%s",
			what, driver.ErrRefused, c.features.Otherwise())
	}
	missing, err := c.log.MakeGroup(ctx, spec.Group, spec.Topic, info.Partitions, known)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s := &fedSub{c: c, spec: spec, claims: make(map[int]*fedClaim)}
	if missing > 0 {
		s.over = fmt.Errorf("%s: %w: %w: %d of its %d partitions were gone, with what was in them, and are made anew", what,
			driver.ErrLost, driver.ErrNotFound, missing, info.Partitions)
	}
	seated := spec
	seated.Topic, seated.From = c.shadow(spec.Topic), driver.From{}
	if !known && c.logs != nil {
		if seated.From, err = c.place(ctx, spec.Topic, spec.From); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	if s.seat, err = c.state.Subscribe(ctx, seated); err != nil {
		return nil, fmt.Errorf("%s: state: %w", what, err)
	}
	if s.feed, err = c.log.Feed(spec.Group, spec.Topic, spec.Lease); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), s.seat.Close())
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.done.Go(s.hear)
	return s, nil
}

// hear listens to the state.
func (s *fedSub) hear() {
	for s.ctx.Err() == nil {
		got, err := s.seat.Receive(s.ctx, driver.Fetch{Events: 1, Bytes: 1})
		var replays []string
		if err == nil {
			replays = s.replays(got.Granted)
		}
		if s.ctx.Err() != nil {
			break
		}
		s.mu.Lock()
		if err == nil {
			s.note(got, replays)
		} else if s.trouble = err; errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrClosed) {
			s.trouble = nil
			s.end(err)
		}
		over := s.over != nil
		s.mu.Unlock()
		s.heard.Notify()
		if over {
			return
		}
		if err != nil {
			s.rest()
		}
	}
}

// rest waits before the state is asked again.
func (s *fedSub) rest() {
	select {
	case <-time.After(s.spec.Lease / 20):
	case <-s.ctx.Done():
	}
}

// replays asks up to where deliveries under new claims are replays. It asks until there is
// an answer: claims are told once.
func (s *fedSub) replays(granted []driver.Claim) []string {
	upTo := make([]string, len(granted))
	for i := range granted {
		for granted[i].Run > 0 && s.ctx.Err() == nil {
			var err error
			if upTo[i], err = s.c.ledger.Replays(s.seat, granted[i]); err == nil {
				break
			}
			s.rest()
		}
	}
	return upTo
}

// end stops to read, for good: a queue of the same name may be another one's by now. The
// caller holds mu.
func (s *fedSub) end(err error) {
	s.over = err
	for p := range s.claims {
		s.feed.Shut(p)
	}
}

// note keeps what the state said, and lets the log follow. The caller holds mu.
func (s *fedSub) note(got driver.Received, replays []string) {
	var untold []int
	for _, p := range got.Lost {
		if c := s.claims[p]; c != nil && !c.told {
			untold = append(untold, p)
		}
		s.feed.Shut(p)
		delete(s.claims, p)
	}
	for i := range got.Granted {
		c := &got.Granted[i]
		c.Topic = s.spec.Topic
		s.claims[c.Partition] = &fedClaim{Claim: *c, replay: replays[i]}
		s.feed.Open(c.Partition, c.Position)
	}
	for _, p := range untold { // nobody heard of these
		got.Lost = slices.DeleteFunc(got.Lost, func(l int) bool { return l == p })
		for i := range s.news {
			n := &s.news[i]
			n.Granted = slices.DeleteFunc(n.Granted, func(c driver.Claim) bool { return c.Partition == p })
			n.Wanted = slices.DeleteFunc(n.Wanted, func(w int) bool { return w == p })
		}
	}
	got.Deliveries = nil
	s.news = append(s.news, got)
}

// Receive implements [driver.Subscription].
func (s *fedSub) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		heard, ready := s.heard.Wait(), s.feed.Ready()
		paused, turned := s.c.ledger.Paused(s.seat)
		if got, any, err := s.take(f, paused); any || err != nil {
			return got, err
		}
		select {
		case <-heard:
		case <-ready:
		case <-turned:
		case <-s.ctx.Done():
		case <-ctx.Done():
			return driver.Received{}, context.Cause(ctx)
		}
	}
}

// take returns what there is to tell now: claims first, so that those that are lost wait
// for nothing.
func (s *fedSub) take(f driver.Fetch, paused bool) (got driver.Received, any bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return got, false, fmt.Errorf("%s: group %s on %s: %w", s.c.features.Engine, s.spec.Group, s.spec.Topic,
			driver.ErrClosed)
	case s.over != nil:
		return got, false, s.over
	case s.trouble != nil:
		err, s.trouble = s.trouble, nil
		return got, false, err
	}
	for len(s.news) > 0 {
		if got, s.news = s.news[0], s.news[1:]; s.tell(&got) {
			return got, true, nil
		}
	}
	if paused {
		return got, false, nil
	}
	full := slices.Clone(f.Full)
	for p, c := range s.claims {
		if c.wanted {
			full = append(full, p)
		}
	}
	f.Full = full
	got, err = s.feed.Take(f)
	for i := range got.Deliveries {
		d := &got.Deliveries[i]
		if c := s.claims[d.Partition]; c != nil && c.replay != "" {
			d.Replay = !above(d.Position, c.replay)
		}
	}
	if errors.Is(err, driver.ErrLost) {
		if _, look := s.c.look(s.ctx, s.spec.Topic); errors.Is(look, driver.ErrNotFound) {
			err = look // no loss: somebody deleted it
		}
		s.end(err)
	}
	return got, got.Any(), err
}

// tell notes that the caller hears of news, and reports whether there are any.
func (s *fedSub) tell(got *driver.Received) bool {
	for _, g := range got.Granted {
		if c := s.claims[g.Partition]; c != nil && c.Epoch == g.Epoch {
			c.told = true
		}
	}
	got.Wanted = slices.DeleteFunc(got.Wanted, func(p int) bool {
		c := s.claims[p]
		if c != nil {
			c.wanted = true
		}
		return c == nil
	})
	return got.Any()
}

// Settle implements [driver.Subscription]. The log comes first: what it has let go never
// comes again, whatever becomes of the rest.
func (s *fedSub) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	held, lost, err := s.holding(settlements)
	if err != nil {
		return nil, err
	}
	for _, x := range held {
		if x.Position != "" {
			if err := s.feed.Settle(ctx, x.Partition, x.Position); err != nil {
				return nil, s.reopen(held, err)
			}
			s.settled(x)
		}
		if !x.Release {
			continue
		}
		select {
		case <-s.feed.Shut(x.Partition):
		case <-ctx.Done():
			return nil, s.reopen(held, context.Cause(ctx))
		}
	}
	more, err := s.seat.Settle(ctx, held)
	if err != nil {
		return nil, s.reopen(held, err)
	}
	s.mu.Lock()
	for _, x := range held {
		c := s.claims[x.Partition]
		switch {
		case c == nil || c.Epoch != x.Epoch: // lost meanwhile, as is told
		case slices.Contains(more, x.Partition):
			s.feed.Shut(x.Partition)
			delete(s.claims, x.Partition)
		case x.Release:
			delete(s.claims, x.Partition)
		}
	}
	s.mu.Unlock()
	lost = append(lost, more...)
	slices.Sort(lost)
	return slices.Compact(lost), nil
}

// settled notes from where on the log would be read again.
func (s *fedSub) settled(x driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[x.Partition]; c != nil && c.Epoch == x.Epoch && above(x.Position, c.Position) {
		c.Position = x.Position
	}
}

// holding splits settlements into those of claims that this member has, and lost ones.
func (s *fedSub) holding(settlements []driver.Settlement) (held []driver.Settlement, lost []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return nil, nil, fmt.Errorf("%s: settle: %w", s.c.features.Engine, driver.ErrClosed)
	case s.over != nil:
		return nil, nil, s.over
	}
	for _, x := range settlements {
		if c := s.claims[x.Partition]; c == nil || c.Epoch != x.Epoch {
			lost = append(lost, x.Partition)
			continue
		}
		held = append(held, x)
	}
	return held, lost, nil
}

// reopen reads on the partitions that were to be released and are still this member's.
func (s *fedSub) reopen(held []driver.Settlement, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range held {
		if c := s.claims[x.Partition]; x.Release && c != nil && c.Epoch == x.Epoch {
			s.feed.Open(x.Partition, c.Position)
		}
	}
	return err
}

// Close implements [driver.Subscription]. What the caller has not heard of is released:
// nothing happened under those claims.
func (s *fedSub) Close() (err error) {
	s.closing.Do(func() {
		s.stop()
		s.done.Wait()
		err = s.feed.Close()
		var untold []driver.Settlement
		s.mu.Lock()
		for p, c := range s.claims {
			if !c.told {
				untold = append(untold, driver.Settlement{Partition: p, Epoch: c.Epoch, Release: true})
			}
		}
		s.mu.Unlock()
		if len(untold) > 0 {
			ctx, cancel := context.WithTimeout(context.Background(), s.spec.Lease)
			_, _ = s.seat.Settle(ctx, untold) // else they are suspect, and no more than that
			cancel()
		}
		err = errors.Join(err, s.seat.Close())
		s.heard.Notify()
	})
	return err
}
