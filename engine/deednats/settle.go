package deednats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Settle implements [driver.Subscription]. Each partition is an entry in its journal.
func (s *subscription) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	if s.ctx.Err() != nil {
		return nil, s.fail("settle", driver.ErrClosed)
	}
	for i := range settlements {
		if err := s.settles(ctx, &settlements[i]); err != nil {
			return nil, s.fail("settle", err)
		}
	}
	errs := make([]error, len(settlements))
	var done sync.WaitGroup
	for i := range settlements {
		done.Go(func() { errs[i] = s.settle(ctx, &settlements[i]) })
	}
	done.Wait()
	released := false
	for i, e := range errs {
		st := settlements[i]
		switch {
		case errors.Is(e, driver.ErrFenced):
			lost = append(lost, st.Partition)
			s.seat.Forget(st.Partition, st.Epoch)
			s.over(st)
		case e != nil:
			if errors.Is(e, errNoStream) {
				e = s.gone(ctx)
			}
			err = errors.Join(err, e)
			if st.Release {
				s.seat.Kept(st.Partition, st.Epoch)
			}
		case st.Release:
			released = true
			s.over(st)
			s.seat.Released(st.Partition, st.Epoch)
		}
	}
	if released {
		s.c.announce()
	}
	if err != nil {
		return nil, s.fail("settle", err)
	}
	slices.Sort(lost)
	return lost, nil
}

// settles reports what is wrong with a settlement.
func (s *subscription) settles(ctx context.Context, st *driver.Settlement) error {
	if st.Partition < 0 || st.Partition >= len(s.topic.parts) {
		return fmt.Errorf("%w: there is no partition %d", driver.ErrRefused, st.Partition)
	}
	position, err := driverkit.ParsePosition(st.Position)
	if err != nil {
		return err
	}
	s.mu.Lock()
	x := s.places[st.Partition]
	given := x != nil && position <= x.given
	s.mu.Unlock()
	if given {
		return nil
	}
	end, _, err := s.c.endOf(ctx, s.topic.life, st.Partition)
	if err == nil && position > end.last {
		err = fmt.Errorf("%w: partition %d ends before position %s", driver.ErrRefused, st.Partition, st.Position)
	}
	return err
}

func (s *subscription) settle(ctx context.Context, st *driver.Settlement) error {
	position, _ := driverkit.ParsePosition(st.Position) // was read before
	if st.Release {
		s.seat.Releasing(st.Partition, st.Epoch)
	}
	return s.c.journal(s.topic, s.spec.Group, st.Partition).step(ctx, func(x *state) (*entry, error) {
		switch {
		case !x.Made:
			return nil, errGone
		case x.Epoch != st.Epoch || x.Seat != s.seat.Name():
			return nil, driver.ErrFenced
		}
		return &entry{Op: opSettle, Position: position, Rate: st.Rate, Status: st.Status, Clean: st.Release}, nil
	})
}

// over stops to read a partition whose claim is over.
func (s *subscription) over(st driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.places[st.Partition]; x != nil && x.epoch == st.Epoch {
		s.leave(st.Partition)
	}
}
