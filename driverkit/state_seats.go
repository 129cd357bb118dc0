package driverkit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

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
	seats map[int]*stateSeat // of all that the log has granted

	receiving sync.Mutex      // held by Receive
	told      driver.Received // what the log told and the caller has not heard yet; Receive's alone
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
		if err := s.over(); err != nil {
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

// over is ErrClosed after Close, or why a seat is not taken, each time once.
func (s *statefulSub) over() error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("group %s on %s: %w", s.spec.Group, s.spec.Topic, driver.ErrClosed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seat := range s.seats {
		if err := seat.trouble; err != nil {
			seat.trouble = nil
			return fmt.Errorf("state of %s: %w", s.spec.Topic, err)
		}
	}
	return nil
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
	f.Full = append(f.Full[:len(f.Full):len(f.Full)], s.waiting()...)
	got, err := s.inner.Receive(inner, f)
	if err != nil {
		if ctx.Err() == nil && inner.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // the state woke us
		}
		return err
	}
	for _, p := range got.Lost {
		s.lost(p)
	}
	for _, cl := range got.Granted {
		s.occupy(cl)
	}
	if len(s.told.Deliveries) == 0 {
		s.told.Deliveries = got.Deliveries
	} else {
		s.told.Deliveries = append(s.told.Deliveries, got.Deliveries...)
	}
	s.told.Wanted = append(s.told.Wanted, got.Wanted...)
	s.told.Stopped = append(s.told.Stopped, got.Stopped...)
	return nil
}

// lost forgets a partition, and tells the caller if it knows of it.
func (s *statefulSub) lost(p int) {
	if s.leave(p) && !slices.Contains(s.told.Lost, p) {
		s.told.Lost = append(s.told.Lost, p)
	}
	s.told.Wanted = slices.DeleteFunc(s.told.Wanted, func(w int) bool { return w == p })
	s.told.Stopped = slices.DeleteFunc(s.told.Stopped, func(x driver.Stopped) bool { return x.Partition == p })
	s.told.Deliveries = slices.DeleteFunc(s.told.Deliveries, func(d driver.Delivery) bool { return d.Partition == p })
}

// waiting lists the partitions whose seats are not taken yet: of these nothing is fetched
// beside what came with the grant.
func (s *statefulSub) waiting() (ps []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, seat := range s.seats {
		if !seat.taken {
			ps = append(ps, p)
		}
	}
	return ps
}

// giveUp releases in the log what the state has taken back, so that it is claimed anew.
func (s *statefulSub) giveUp(ctx context.Context) error {
	s.mu.Lock()
	over := make(map[int]int64)
	for p, seat := range s.seats {
		if seat.over {
			over[p] = seat.log.Epoch
		}
	}
	s.mu.Unlock()
	for p, epoch := range over {
		_, err := s.inner.Settle(ctx, []driver.Settlement{{Partition: p, Epoch: epoch, Release: true}})
		if err != nil {
			return err
		}
		s.lost(p)
	}
	return nil
}

// take returns what the caller may hear, within the bounds of a fetch.
func (s *statefulSub) take(f driver.Fetch) (driver.Received, bool) {
	out := driver.Received{Lost: s.told.Lost}
	kept := driver.Received{}
	s.mu.Lock()
	for _, p := range slices.Sorted(maps.Keys(s.seats)) {
		if seat := s.seats[p]; seat.taken && !seat.told {
			seat.told = true
			out.Granted = append(out.Granted, seat.claim)
		}
	}
	known := func(p int) bool { return s.seats[p] == nil || s.seats[p].told }
	for _, p := range s.told.Wanted {
		if known(p) {
			out.Wanted = append(out.Wanted, p)
		} else {
			kept.Wanted = append(kept.Wanted, p)
		}
	}
	for _, x := range s.told.Stopped {
		if known(x.Partition) {
			out.Stopped = append(out.Stopped, x)
		} else {
			kept.Stopped = append(kept.Stopped, x)
		}
	}
	bytes, full, all := 0, slices.Clone(f.Full), s.told.Deliveries
	for i := range all {
		d := &all[i]
		fits := len(out.Deliveries) < f.Events && (bytes+len(d.Data) <= f.Bytes || len(out.Deliveries) == 0)
		if !fits || !known(d.Partition) || slices.Contains(full, d.Partition) {
			full = append(full, d.Partition) // keeps the order of the partition
			kept.Deliveries = append(kept.Deliveries, *d)
			continue
		}
		bytes += len(d.Data)
		if len(kept.Deliveries) == 0 { // as a rule nothing is kept, and nothing copied
			out.Deliveries = all[: i+1 : i+1]
		} else {
			out.Deliveries = append(out.Deliveries, *d)
		}
	}
	s.mu.Unlock()
	s.told = kept
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
	s.receiving.Lock() // no Receive runs any more that could take a seat
	defer s.receiving.Unlock()
	s.mu.Lock()
	ps := slices.Collect(maps.Keys(s.seats))
	s.mu.Unlock()
	for _, p := range ps {
		s.leave(p)
	}
	return err
}
