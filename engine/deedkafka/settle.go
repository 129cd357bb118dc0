package deedkafka

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Settle implements [driver.Subscription].
func (s *subscription) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	if err := s.over(); err != nil {
		return nil, err
	}
	s.commits.Lock()
	defer s.commits.Unlock()
	all, released, lost, err := s.settling(settlements)
	if err != nil {
		return nil, s.fail("settle", err)
	}
	more, err := s.store(ctx, all)
	if err != nil {
		return nil, s.fail("settle", err)
	}
	s.mu.Lock()
	for _, p := range released {
		if h := s.held[p]; h != nil && !slices.Contains(more, p) {
			delete(s.held, p)
			s.reader.drop(p)
			if h.wanted {
				s.rejoin()
			} else { // it is about to leave
				s.rest = time.Now()
			}
		}
	}
	for _, p := range more { // told here, and not again by Receive
		s.lost = slices.DeleteFunc(s.lost, func(l int) bool { return l == p })
	}
	s.mu.Unlock()
	lost = append(lost, more...)
	slices.Sort(lost)
	return slices.Compact(lost), nil
}

// settling works out the standings to store.
func (s *subscription) settling(settlements []driver.Settlement) (
	all map[int]standing, released, lost []int, err error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make(map[int]standing, len(settlements))
	for _, x := range settlements {
		next, err := driverkit.ParsePosition(x.Position)
		if err != nil {
			return nil, nil, nil, err
		}
		h := s.held[x.Partition]
		if h == nil || h.Epoch != x.Epoch {
			lost = append(lost, x.Partition)
			continue
		}
		st := h.standing
		if next > 0 {
			st.Next, st.Handled = max(st.Next, next), max(st.Handled, next)
		}
		if st.Rate, st.Status = x.Rate, x.Status; x.Release {
			st.Owner, st.Rate, st.Status = "", 0, ""
			released = append(released, x.Partition)
		}
		all[x.Partition] = st
	}
	return all, released, lost, nil
}

// rejoin lets the group be divided anew.
func (s *subscription) rejoin() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// renew stores the standings that have not been for a while, so that others see this
// member live and Kafka does not forget the offsets.
func (s *subscription) renew(ctx context.Context) error {
	s.commits.Lock()
	defer s.commits.Unlock()
	s.mu.Lock()
	all := make(map[int]standing)
	for p, h := range s.held {
		if h.told && time.Since(h.dirty) > s.spec.Lease/3 {
			all[p] = h.standing
		}
	}
	s.mu.Unlock()
	_, err := s.store(ctx, all)
	return err
}

// store commits standings of this member and returns the partitions that it has lost. The
// caller holds commits.
func (s *subscription) store(ctx context.Context, all map[int]standing) (lost []int, err error) {
	now := time.Now()
	for p, st := range all {
		st.Beat, st.Lease = now.UnixMilli(), s.spec.Lease.Milliseconds()
		all[p] = st
	}
	for len(all) > 0 {
		wake := s.changed.Wait()
		s.mu.Lock()
		m := s.member
		for p, st := range all {
			if h := s.held[p]; h == nil || h.Epoch != st.Epoch {
				lost = append(lost, p)
				delete(all, p)
			}
		}
		s.mu.Unlock()
		if len(all) == 0 {
			break
		}
		sent := time.Now()
		said, err := commit(ctx, s.client, s.group, s.topic, m, all)
		if err != nil {
			return lost, err
		}
		s.beats(m, sent, said)
		again, err := s.stored(m, all, said, &lost)
		if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) {
			if _, gone := s.conn.look(ctx, s.spec.Topic); errors.Is(gone, driver.ErrNotFound) {
				s.end(gone)
			}
		}
		if err != nil || !again {
			return lost, err
		}
		select {
		case <-wake: // a new generation, perhaps
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return lost, ctx.Err()
		case <-s.ctx.Done():
			return lost, driver.ErrClosed
		}
	}
	return lost, nil
}

// beats notes that the broker took a commit, which counts as a heartbeat there.
func (s *subscription) beats(m membership, sent time.Time, said map[int]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range said {
		if err == nil && s.member.id == m.id && sent.After(s.beat) {
			s.beat = sent
		}
	}
}

// rebalance is how long the broker waits for the members of a generation to join.
func (s *subscription) rebalance() time.Duration { return 3 * s.spec.Lease }

// stored notes what was committed and removes it from all. It reports whether the rest is
// to be tried again.
func (s *subscription) stored(m membership, all map[int]standing, said map[int]error, lost *[]int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for p, st := range all {
		switch err := said[p]; {
		case err == nil:
			if h := s.held[p]; h != nil {
				h.standing, h.dirty, h.stored = st, time.Now(), true
			}
			delete(all, p)
		case errors.Is(err, kerr.RebalanceInProgress):
		case errors.Is(err, kerr.IllegalGeneration) && s.member.id == m.id:
			// The group is in a new generation, of which this member hears soon: a broker knows
			// nothing of one that is not in it. What it said that it owns nobody else was given.
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
			if s.held[p] != nil {
				s.lose(p)
			}
			*lost = append(*lost, p)
			delete(all, p)
		case first == nil:
			first = err
		}
	}
	return len(all) > 0, first
}
