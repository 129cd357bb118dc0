package driverkit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// stateSeat is a partition's seat in the state. One that is another member's there, who has
// died, is waited for by a goroutine of its own, so that other partitions go on.
type stateSeat struct {
	log  driver.Claim // as the log granted it
	stop context.CancelFunc
	done sync.WaitGroup
	sub  driver.Subscription // the goroutine's until it is done

	// Guarded by the subscription's mutex.
	claim   driver.Claim // as the caller knows it
	taken   bool         // the state has given the claim
	told    bool         // Receive has told of it
	over    bool         // the state gave the claim to somebody else
	failing bool         // since it was last told of trouble
	trouble error        // to be told
}

// occupy begins to claim in the state what the log has granted.
func (s *statefulSub) occupy(log driver.Claim) {
	s.leave(log.Partition)
	ctx, stop := context.WithCancel(s.ctx)
	seat := &stateSeat{log: log, claim: log, stop: stop}
	s.mu.Lock()
	s.seats[log.Partition] = seat
	s.mu.Unlock()
	seat.done.Go(func() {
		for ctx.Err() == nil {
			err := s.sit(ctx, seat)
			if err == nil {
				s.watch(ctx, seat)
				return
			}
			s.fails(seat, err)
			select {
			case <-time.After(s.spec.Lease / 10):
			case <-ctx.Done():
			}
		}
	})
}

// fails notes why a seat is not taken, for Receive to tell once until it is.
func (s *statefulSub) fails(seat *stateSeat, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !seat.failing {
		seat.failing, seat.trouble = true, err
		s.ready.Notify()
	}
}

// sit waits for the claim in the state.
func (s *statefulSub) sit(ctx context.Context, seat *stateSeat) error {
	sub, err := s.join(ctx, seat.log)
	if err != nil {
		return err
	}
	for {
		got, err := sub.Receive(ctx, driver.Fetch{Events: 1, Bytes: 1})
		if err != nil { // the group was deleted there, perhaps
			return errors.Join(err, sub.Close())
		}
		if len(got.Granted) == 0 {
			continue
		}
		seat.sub = sub
		s.mu.Lock()
		seat.claim.Epoch = got.Granted[0].Epoch
		s.c.marked.Store(markedBy(s.c.inState(seat.claim)), true) // by owners before, perhaps
		seat.taken, seat.failing, seat.trouble = true, false, nil
		s.mu.Unlock()
		s.ready.Notify()
		return nil
	}
}

// join joins the group in the state, on a topic that is created if it has to be.
func (s *statefulSub) join(ctx context.Context, log driver.Claim) (driver.Subscription, error) {
	shadow := s.c.shadow(log.Topic, log.Partition)
	spec := driver.SubscribeSpec{Topic: shadow, Group: log.Group, Lease: s.spec.Lease}
	sub, err := s.c.state.Subscribe(ctx, spec)
	if !errors.Is(err, driver.ErrNotFound) {
		return sub, err
	}
	if _, err := s.c.Topic(ctx, log.Topic); err != nil { // deleted: what is left of it must not come back
		return nil, err
	}
	if _, err := s.c.shadows.CreateTopic(ctx, shadow, driver.TopicSettings{Partitions: 1}); err != nil {
		return nil, err
	}
	return s.c.state.Subscribe(ctx, spec)
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

// leave ends the seat of a partition, and reports whether the caller knows of it.
func (s *statefulSub) leave(p int) (told bool) {
	s.mu.Lock()
	seat := s.seats[p]
	delete(s.seats, p)
	s.mu.Unlock()
	if seat == nil {
		return false
	}
	seat.stop()
	seat.done.Wait()
	if seat.sub != nil {
		s.c.marked.Delete(markedBy(s.c.inState(seat.claim)))
		_ = seat.sub.Close() // else its lease runs out
	}
	return seat.told
}
