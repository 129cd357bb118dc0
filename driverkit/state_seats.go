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

// statefulSub is a member of a group on the log, and for each partition that it has there
// a member of the group on the partition's topic in the state.
type statefulSub struct {
	c     *stateful
	inner driver.Subscription
	spec  driver.SubscribeSpec
	ready Signal // notified of news of the state

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu    sync.Mutex
	seats map[int]*stateSeat

	receiving sync.Mutex // held by Receive
	// What the log told and the caller has not heard yet. Receive alone uses these.
	told    driver.Received
	granted []driver.Claim      // by the log, not yet claimed in the state
	joining driver.Subscription // for the first of these
}

// stateSeat is a partition's seat in the state.
type stateSeat struct {
	log   driver.Claim // as the log granted it
	claim driver.Claim // as the caller knows it
	sub   driver.Subscription
	stop  context.CancelFunc
	done  sync.WaitGroup
	over  bool // the state gave the claim to somebody else
}

// Subscribe implements [driver.Conn].
func (c *stateful) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	inner, err := c.Conn.Subscribe(ctx, spec)
	if err != nil {
		return nil, err
	}
	s := &statefulSub{c: c, inner: inner, spec: spec, seats: make(map[int]*stateSeat)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Receive implements [driver.Subscription].
func (s *statefulSub) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	for {
		wake := s.ready.Wait()
		if err := s.claim(ctx); err != nil {
			return driver.Received{}, err
		}
		if err := s.giveUp(ctx); err != nil {
			return driver.Received{}, err
		}
		if got, any := s.take(f); any {
			return got, nil
		}
		if err := s.listen(ctx, f, wake); err != nil {
			return driver.Received{}, err
		}
	}
}

// listen waits for news of the log or the state, and keeps what the log tells.
func (s *statefulSub) listen(ctx context.Context, f driver.Fetch, wake <-chan struct{}) error {
	inner, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		select {
		case <-wake:
			cancel()
		case <-inner.Done():
		}
	})
	defer done.Wait()
	defer cancel()
	got, err := s.inner.Receive(inner, f)
	if err != nil {
		if ctx.Err() == nil && inner.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // the state woke us
		}
		return err
	}
	for _, p := range got.Lost {
		s.leave(p)
		is := func(c driver.Claim) bool { return c.Partition == p }
		if slices.ContainsFunc(s.told.Granted, is) { // the caller never heard of it
			s.told.Granted = slices.DeleteFunc(s.told.Granted, is)
		} else if slices.ContainsFunc(s.granted, is) {
			if is(s.granted[0]) {
				s.stand()
			}
			s.granted = slices.DeleteFunc(s.granted, is)
		} else if !slices.Contains(s.told.Lost, p) {
			s.told.Lost = append(s.told.Lost, p)
		}
		s.told.Wanted = slices.DeleteFunc(s.told.Wanted, func(w int) bool { return w == p })
		s.told.Deliveries = slices.DeleteFunc(s.told.Deliveries, func(d driver.Delivery) bool { return d.Partition == p })
	}
	s.granted = append(s.granted, got.Granted...)
	s.told.Deliveries = append(s.told.Deliveries, got.Deliveries...)
	s.told.Wanted = append(s.told.Wanted, got.Wanted...)
	s.told.Stopped = append(s.told.Stopped, got.Stopped...)
	return nil
}

// claim claims in the state what the log granted. A claim that is still another member's
// there, who has died, is waited for.
func (s *statefulSub) claim(ctx context.Context) error {
	for len(s.granted) > 0 {
		seat, err := s.sit(ctx, s.granted[0])
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.seats[seat.claim.Partition] = seat
		s.mu.Unlock()
		s.told.Granted = append(s.told.Granted, seat.claim)
		s.granted = s.granted[1:]
	}
	return nil
}

// sit waits for the claim in the state.
func (s *statefulSub) sit(ctx context.Context, log driver.Claim) (*stateSeat, error) {
	if s.joining == nil {
		if err := s.join(ctx, log); err != nil {
			return nil, fmt.Errorf("state of %s: %w", log.Topic, err)
		}
	}
	for {
		either, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(s.ctx, cancel)
		got, err := s.joining.Receive(either, driver.Fetch{Events: 1, Bytes: 1})
		stop()
		cancel()
		switch {
		case err != nil && s.ctx.Err() != nil:
			return nil, fmt.Errorf("group %s on %s: %w", log.Group, log.Topic, driver.ErrClosed)
		case err != nil && ctx.Err() == nil: // deleted, perhaps
			s.stand()
			return nil, err
		case err != nil:
			return nil, err
		}
		if len(got.Granted) == 0 {
			continue
		}
		seat := &stateSeat{log: log, claim: log, sub: s.joining}
		s.joining = nil
		seat.claim.Epoch = got.Granted[0].Epoch
		s.c.marked.Store(markedBy(s.c.inState(seat.claim)), true) // by owners before, perhaps
		watch, end := context.WithCancel(context.Background())
		seat.stop = end
		seat.done.Go(func() { s.watch(watch, seat) })
		return seat, nil
	}
}

// join joins the group in the state. A ctx that ends early does not end that, or a slow
// machine would never come further.
func (s *statefulSub) join(ctx context.Context, log driver.Claim) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.spec.Lease+5*time.Second)
	defer cancel()
	shadow := s.c.shadow(log.Topic, log.Partition)
	spec := driver.SubscribeSpec{Topic: shadow, Group: log.Group, Lease: s.spec.Lease}
	s.joining, err = s.c.state.Subscribe(ctx, spec)
	if errors.Is(err, driver.ErrNotFound) {
		if _, err = s.c.shadows.CreateTopic(ctx, shadow, driver.TopicSettings{Partitions: 1}); err == nil {
			s.joining, err = s.c.state.Subscribe(ctx, spec)
		}
	}
	if err != nil {
		s.joining = nil
	}
	return err
}

// stand gives up joining.
func (s *statefulSub) stand() {
	if s.joining != nil {
		_ = s.joining.Close()
		s.joining = nil
	}
}

// watch waits for the state to take a claim back.
func (s *statefulSub) watch(ctx context.Context, seat *stateSeat) {
	for ctx.Err() == nil {
		got, err := seat.sub.Receive(ctx, driver.Fetch{Events: 1, Bytes: 1})
		if len(got.Lost) > 0 || err != nil && ctx.Err() == nil && (errors.Is(err, driver.ErrNotFound) ||
			errors.Is(err, driver.ErrClosed)) {
			s.mu.Lock()
			seat.over = true
			s.mu.Unlock()
			s.ready.Notify()
			return
		}
		if err != nil && ctx.Err() == nil {
			select {
			case <-time.After(s.spec.Lease / 10):
			case <-ctx.Done():
			}
		}
	}
}

// giveUp releases in the log what the state has taken back, so that it is claimed anew.
func (s *statefulSub) giveUp(ctx context.Context) error {
	s.mu.Lock()
	var over []*stateSeat
	for _, seat := range s.seats {
		if seat.over {
			over = append(over, seat)
		}
	}
	s.mu.Unlock()
	for _, seat := range over {
		p := seat.claim.Partition
		_, err := s.inner.Settle(ctx, []driver.Settlement{{Partition: p, Epoch: seat.log.Epoch, Release: true}})
		if err != nil {
			return err
		}
		s.leave(p)
		is := func(c driver.Claim) bool { return c.Partition == p }
		if slices.ContainsFunc(s.told.Granted, is) { // the caller never heard of it
			s.told.Granted = slices.DeleteFunc(s.told.Granted, is)
		} else {
			s.told.Lost = append(s.told.Lost, p)
		}
		s.told.Deliveries = slices.DeleteFunc(s.told.Deliveries, func(d driver.Delivery) bool { return d.Partition == p })
		s.told.Wanted = slices.DeleteFunc(s.told.Wanted, func(w int) bool { return w == p })
	}
	return nil
}

// leave ends the seat of a partition.
func (s *statefulSub) leave(p int) {
	s.mu.Lock()
	seat := s.seats[p]
	delete(s.seats, p)
	s.mu.Unlock()
	if seat != nil {
		s.c.marked.Delete(markedBy(s.c.inState(seat.claim)))
		seat.stop()
		seat.done.Wait()
		_ = seat.sub.Close() // else its lease runs out
	}
}

// take returns what the caller may hear, within the bounds of a fetch.
func (s *statefulSub) take(f driver.Fetch) (driver.Received, bool) {
	out := s.told
	out.Deliveries, s.told = nil, driver.Received{Deliveries: s.told.Deliveries}
	bytes, kept := 0, s.told.Deliveries[:0:0]
	full := slices.Clone(f.Full)
	for _, d := range s.told.Deliveries {
		fits := len(out.Deliveries) < f.Events && (bytes+len(d.Data) <= f.Bytes || len(out.Deliveries) == 0)
		if !fits || slices.Contains(full, d.Partition) {
			full = append(full, d.Partition) // keeps the order of the partition
			kept = append(kept, d)
			continue
		}
		bytes += len(d.Data)
		out.Deliveries = append(out.Deliveries, d)
	}
	s.told.Deliveries = kept
	return out, len(out.Lost)+len(out.Granted)+len(out.Wanted)+len(out.Stopped)+len(out.Deliveries) > 0
}

// Settle implements [driver.Subscription].
func (s *statefulSub) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	var held []driver.Settlement
	seats := make(map[int]*stateSeat)
	s.mu.Lock()
	for _, x := range settlements {
		seat := s.seats[x.Partition]
		if seat == nil || seat.claim.Epoch != x.Epoch || seat.over {
			lost = append(lost, x.Partition)
			continue
		}
		x.Epoch, seats[x.Partition] = seat.log.Epoch, seat
		held = append(held, x)
	}
	s.mu.Unlock()
	more, err := s.inner.Settle(ctx, held)
	if err != nil {
		return nil, err
	}
	for _, x := range held {
		seat := seats[x.Partition]
		if slices.Contains(more, x.Partition) {
			s.leave(x.Partition)
			continue
		}
		if err := s.settled(ctx, seat, x); err != nil {
			return nil, err
		}
	}
	lost = append(lost, more...)
	slices.Sort(lost)
	return slices.Compact(lost), nil
}

// settled brings the state to where the log is: it forgets marks that were passed, and
// what was released there is released here.
func (s *statefulSub) settled(ctx context.Context, seat *stateSeat, x driver.Settlement) (err error) {
	if x.Position != "" {
		err = s.c.unmark(ctx, seat.claim, x.Position)
	}
	if err == nil && x.Release {
		_, err = seat.sub.Settle(ctx, []driver.Settlement{{Epoch: seat.claim.Epoch, Release: true}})
		s.leave(seat.claim.Partition)
	}
	if err != nil && !errors.Is(err, driver.ErrFenced) { // the next Receive tells of that
		return fmt.Errorf("state of %s: %w", s.spec.Topic, err)
	}
	return nil
}

// Close implements [driver.Subscription].
func (s *statefulSub) Close() error {
	s.stop()
	err := s.inner.Close()
	s.mu.Lock()
	var ps []int
	for p := range s.seats {
		ps = append(ps, p)
	}
	s.mu.Unlock()
	for _, p := range ps {
		s.leave(p)
	}
	s.receiving.Lock() // no Receive runs any more
	defer s.receiving.Unlock()
	s.stand()
	return err
}
