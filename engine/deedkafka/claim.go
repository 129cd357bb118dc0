package deedkafka

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// claim makes what the group gives this member its own: it reads how the group stands
// there and stores that the partition has an owner, in a new epoch. Receive tells of it.
func (s *subscription) claim(ctx context.Context) error {
	s.mu.Lock()
	coming := len(s.coming)
	s.mu.Unlock()
	if coming == 0 || s.frozen() {
		return nil
	}
	s.commits.Lock()
	defer s.commits.Unlock()
	known, err := s.conn.standings(ctx, s.spec.Group, s.topic)
	if err != nil {
		return err
	}
	starts, ends, err := s.conn.ends(ctx, s.topic)
	if err != nil {
		return err
	}
	s.mu.Lock()
	all := make(map[int]standing)
	for _, p := range s.coming {
		h := s.hold(p, known, starts[p])
		if err := lostLog(h.Next, ends[p]); err != nil {
			s.stopped = append(s.stopped, driver.Stopped{Partition: p, Err: err})
		} else {
			s.reader.add(p, h.Next, ends[p])
		}
		s.held[p] = h
		all[p] = h.standing
	}
	s.coming = nil
	s.mu.Unlock()
	_, err = s.store(ctx, all)
	s.changed.Notify()
	if len(all) > 0 && err != nil { // not ours as long as that is not stored
		s.mu.Lock()
		for p := range all {
			if s.held[p] != nil {
				delete(s.held, p)
				s.reader.drop(p)
				s.coming = append(s.coming, p)
			}
		}
		s.mu.Unlock()
	}
	return err
}

// hold works out the claim to a partition whose log begins at start.
func (s *subscription) hold(p int, known map[int]standing, start int64) *holding {
	st, ok := known[p]
	if !ok {
		st = standing{Topic: s.topic.detail.ID.String(), Next: s.start[p]}
		for _, other := range known {
			st.Run, st.Quiet = other.Run, other.Quiet
		}
	}
	st.begin(start)
	before := st.Owner
	// An epoch of a group of the same name that was deleted must be less.
	st.Epoch = max(st.Epoch+1, time.Now().UnixMilli())
	st.Owner, st.Rate, st.Status = s.conn.member, 0, ""
	return &holding{standing: st, before: before, claim: driver.Claim{
		Group: s.spec.Group, Topic: s.spec.Topic, Partition: p, Epoch: st.Epoch, Position: driverkit.Position(st.Next),
		Suspect: before != "", Run: st.Run, Quiet: st.Quiet,
	}}
}

// lostLog is ErrLost when the log ends before what the group has handled.
func lostLog(next, end int64) error {
	if next <= end {
		return nil
	}
	return fmt.Errorf("deedkafka: %w: the group has handled up to %d, the log ends at %d: reset the group to go on",
		driver.ErrLost, next, end)
}
