package deedkafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
)

// A subscription is a member of a consumer group by the classic protocol. It does not let
// the client do that, since deed's partitions move only when their handlers are done: a
// member says in each generation which partitions it owns, the leader gives those to
// nobody else, and whoever has too many releases some and joins again.

// protocol keeps programs other than deed out of the group, which would not know that.
const protocol = "deed"

// run keeps the membership until the subscription is closed.
func (s *subscription) run() {
	for s.ctx.Err() == nil && !s.ended() {
		err := s.join()
		for err == nil && !s.ended() {
			if err = s.wait(); err == nil {
				err = s.heartbeat()
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, errRejoin), errors.Is(err, kerr.RebalanceInProgress):
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration):
			s.expel()
		default:
			s.trouble(err)
		}
	}
}

var errRejoin = errors.New("join again")

// trouble waits a little after an error that may pass. What the brokers will never take is
// told to the caller of Receive.
func (s *subscription) trouble(err error) {
	s.tell("join", err)
	s.expire()
	select {
	case <-time.After(s.spec.Lease / 10):
	case <-s.ctx.Done():
	}
}

// tell lets Receive return an error that asks for somebody's help.
func (s *subscription) tell(what string, err error) {
	if errors.Is(explain(err), driver.ErrRefused) {
		s.mu.Lock()
		s.refused = s.fail(what, err)
		s.mu.Unlock()
		s.changed.Notify()
	}
}

// wait lets the time between heartbeats pass.
func (s *subscription) wait() error {
	timer := time.NewTimer(min(s.spec.Lease/4, time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.nudge:
		return errRejoin
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// join enters the next generation of the group, and divides it if that falls to us.
func (s *subscription) join() error {
	s.mu.Lock()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = s.group, s.member.id, "consumer"
	req.SessionTimeoutMillis = int32(s.spec.Lease.Milliseconds())
	req.RebalanceTimeoutMillis = int32(s.rebalance().Milliseconds())
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = protocol, s.metadata()
	req.Protocols = []kmsg.JoinGroupRequestProtocol{p}
	s.mu.Unlock()
	if s.frozen() {
		return errFrozen
	}
	// While a member waits for the others to join, its lease does not run at the broker.
	s.waiting(true)
	resp, err := req.RequestWith(s.ctx, s.client)
	s.waiting(false)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if errors.Is(err, kerr.MemberIDRequired) {
		s.mu.Lock()
		s.member = membership{id: resp.MemberID, generation: -1}
		s.mu.Unlock()
		return errRejoin
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.member = membership{resp.MemberID, resp.Generation}
	s.beat = time.Now()
	s.mu.Unlock()
	s.changed.Notify()
	return s.synchronize(resp)
}

// waiting notes whether this member waits for the others.
func (s *subscription) waiting(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joining = yes && s.member.id != ""; s.joining {
		s.joined = time.Now()
	}
}

var errFrozen = errors.New("frozen by a test")

// metadata says what this member owns; see the top of the file.
func (s *subscription) metadata() []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, []string{s.spec.Topic}
	o := kmsg.NewConsumerMemberMetadataOwnedPartition()
	o.Topic = s.spec.Topic
	for p := range s.held {
		o.Partitions = append(o.Partitions, int32(p))
	}
	slices.Sort(o.Partitions)
	m.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{o}
	return m.AppendTo(nil)
}

// synchronize learns what this member may have in the new generation.
func (s *subscription) synchronize(joined *kmsg.JoinGroupResponse) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = s.group, joined.MemberID, joined.Generation
	name, kind := protocol, "consumer"
	req.ProtocolType, req.Protocol = &kind, &name
	if joined.LeaderID == joined.MemberID {
		req.GroupAssignment = s.assignments(joined.Members)
	}
	resp, err := req.RequestWith(s.ctx, s.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return err
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(resp.MemberAssignment); err != nil {
		return fmt.Errorf("its assignment cannot be read: %w", err)
	}
	var mine []int
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			if t.Topic == s.spec.Topic {
				mine = append(mine, int(p))
			}
		}
	}
	s.assigned(mine)
	if err := s.claim(s.ctx); err != nil {
		s.trouble(err) // keep tries again
	}
	return nil
}

// assignments divides the partitions, as the leader.
func (s *subscription) assignments(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	shares := make([]share, len(members))
	for i, m := range members {
		shares[i].member = m.MemberID
		var meta kmsg.ConsumerMemberMetadata
		if meta.ReadFrom(m.ProtocolMetadata) != nil {
			continue // owns nothing that we know of
		}
		for _, o := range meta.OwnedPartitions {
			for _, p := range o.Partitions {
				if o.Topic == s.spec.Topic {
					shares[i].owned = append(shares[i].owned, int(p))
				}
			}
		}
	}
	divide(shares, len(s.topic.detail.Partitions))
	out := make([]kmsg.SyncGroupRequestGroupAssignment, len(shares))
	for i, sh := range shares {
		t := kmsg.NewConsumerMemberAssignmentTopic()
		t.Topic = s.spec.Topic
		for _, p := range sh.given {
			t.Partitions = append(t.Partitions, int32(p))
		}
		a := kmsg.NewConsumerMemberAssignment()
		a.Topics = []kmsg.ConsumerMemberAssignmentTopic{t}
		out[i] = kmsg.NewSyncGroupRequestGroupAssignment()
		out[i].MemberID, out[i].MemberAssignment = sh.member, a.AppendTo(nil)
	}
	return out
}

// share is one member's part of the partitions.
type share struct {
	member string
	owned  []int // and not to be given to others
	given  []int
}

// divide gives the members equal parts, of what they own first. What a member owns above
// its part it is not given and nobody else is: it is to release that.
func divide(shares []share, partitions int) {
	slices.SortFunc(shares, func(a, b share) int {
		return cmp.Or(cmp.Compare(len(b.owned), len(a.owned)), cmp.Compare(a.member, b.member))
	})
	owned := make(map[int]bool)
	room := make([]int, len(shares))
	for i := range shares {
		sh := &shares[i]
		room[i] = partitions / len(shares)
		if i < partitions%len(shares) {
			room[i]++
		}
		slices.Sort(sh.owned)
		for _, p := range sh.owned {
			if !owned[p] && p < partitions && room[i] > 0 {
				sh.given = append(sh.given, p)
				room[i]--
			}
			owned[p] = true
		}
	}
	free := 0
	for i := range shares {
		for ; free < partitions && room[i] > 0; free++ {
			if !owned[free] {
				shares[i].given = append(shares[i].given, free)
				room[i]--
			}
		}
	}
}

// heartbeat tells the broker that this member lives, and looks for what others changed.
func (s *subscription) heartbeat() error {
	if s.frozen() {
		s.expire()
		return nil
	}
	s.mu.Lock()
	m := s.member
	s.mu.Unlock()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = s.group, m.id, m.generation
	ctx, cancel := context.WithTimeout(s.ctx, s.spec.Lease)
	defer cancel()
	sent := time.Now()
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil { // no answer, and until the lease is over no loss
		s.trouble(err)
		return s.ctx.Err()
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	if err == nil || errors.Is(err, kerr.RebalanceInProgress) {
		s.mu.Lock()
		s.beat = sent
		s.mu.Unlock()
	}
	if err != nil {
		return err
	}
	if s.rested() {
		return errRejoin
	}
	return s.ctx.Err()
}

// keep looks after the topic and what this member holds, beside the heartbeats, which it
// must not hold up.
func (s *subscription) keep() {
	tick := time.NewTicker(min(s.spec.Lease/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		if s.frozen() {
			continue
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.spec.Lease)
		err := s.survey(ctx)
		if err == nil {
			_ = errors.Join(s.claim(ctx), s.renew(ctx)) // the next turn tries again
		}
		cancel()
		if err != nil {
			s.end(err)
			return
		}
	}
}

// rested reports whether this member released partitions that nobody wanted, and yet has
// not left: it may have them again.
func (s *subscription) rested() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rest.IsZero() || time.Since(s.rest) < s.spec.Lease/3 {
		return false
	}
	s.rest = time.Time{}
	return true
}

// survey learns whether the topic is still there.
func (s *subscription) survey(ctx context.Context) error {
	t, err := s.conn.look(ctx, s.spec.Topic)
	switch {
	case err == nil && t.detail.ID != s.topic.detail.ID:
		return fmt.Errorf("deedkafka: topic %s was deleted and created anew: %w", s.spec.Topic, driver.ErrNotFound)
	case errors.Is(err, driver.ErrNotFound):
		if s.missing++; s.missing > 1 { // a broker that starts may not know of it yet
			return err
		}
	case err == nil:
		s.missing = 0
	}
	return nil
}
