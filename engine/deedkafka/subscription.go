package deedkafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// subscription is one member of a group. It has a client of its own, for a broker answers
// the requests of a connection in turn, and joining takes time.
type subscription struct {
	conn   *Conn
	client *kgo.Client
	spec   driver.SubscribeSpec
	group  string // in Kafka
	topic  *topic
	start  []int64 // where a partition without an offset begins
	reader reader
	ice    atomic.Bool // a test froze it
	paused atomic.Bool

	ctx     context.Context
	stop    context.CancelFunc
	done    sync.WaitGroup
	closing sync.Once
	changed driverkit.Signal
	nudge   chan struct{}

	commits sync.Mutex // one at a time, so that an older one comes never last
	mu      sync.Mutex
	member  membership
	beat    time.Time // when the last heartbeat was sent that was answered
	held    map[int]*holding
	coming  []int // ours to claim, which Receive does
	lost    []int // to be told
	wanted  []int // to be told
	stopped []driver.Stopped
	refused error     // what the brokers do not let this member do
	gone    error     // the topic is
	joining bool      // waits for the other members of the next generation
	joined  time.Time // since when
	rest    time.Time // when something was released that nobody wanted
	missing int       // how often the topic was not found, used by keep alone
}

// holding is a partition that this member owns.
type holding struct {
	standing
	claim  driver.Claim
	before string // the owner before
	told   bool   // Receive has granted it
	stored bool   // the claim is
	wanted bool
	dirty  time.Time // when the standing was last stored
}

// Subscribe implements [driver.Conn].
func (c *Conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	t, err := c.look(ctx, spec.Topic)
	if err != nil {
		return nil, err
	}
	what := "subscribe " + spec.Group + " to " + spec.Topic
	start := make([]int64, len(t.detail.Partitions))
	known, err := c.standings(ctx, spec.Group, t)
	if err == nil && len(known) == 0 {
		start, err = c.starts(ctx, t, from(spec.From))
	}
	if err == nil {
		err = c.enterGroup(ctx, spec)
	}
	var entry groupEntry
	if err == nil {
		entry, err = c.groupEntry(ctx, spec.Group, spec.Topic)
	}
	if err != nil {
		return nil, c.fail(what, err)
	}
	options := append(c.settings.options[:len(c.settings.options):len(c.settings.options)],
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchTotal), kgo.FetchMaxPartitionBytes(fetchBytes), kgo.FetchMaxWait(fetchWait),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.ClientID(c.member))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, c.fail(what, err)
	}
	s := &subscription{
		conn: c, client: client, spec: spec, group: groupName(spec.Group, spec.Topic), topic: t, start: start,
		member: membership{generation: -1}, held: make(map[int]*holding), nudge: make(chan struct{}, 1), beat: time.Now(),
	}
	s.paused.Store(entry.Paused)
	s.ctx, s.stop = context.WithCancel(c.ctx)
	s.reader = reader{s: s, queues: make(map[int]*queue), drops: make(map[int]bool), adds: make(map[int]int64)}
	s.reader.watch(c.catalog.upTo())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs == nil {
		client.Close()
		return nil, c.closed()
	}
	c.subs[s] = true
	s.done.Go(s.run)
	s.done.Go(s.keep)
	s.done.Go(s.reader.run)
	return s, nil
}

// Receive implements [driver.Subscription].
func (s *subscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		wake := s.changed.Wait()
		if err := s.over(); err != nil {
			return driver.Received{}, err
		}
		if err := ctx.Err(); err != nil {
			return driver.Received{}, err
		}
		s.expire()
		if got, any := s.news(f); any {
			return got, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
}

// over tells why there is nothing to receive any more.
func (s *subscription) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return fmt.Errorf("deedkafka: group %s on %s: %w", s.spec.Group, s.spec.Topic, driver.ErrClosed)
	case s.gone != nil:
		return s.gone
	}
	err := s.refused
	s.refused = nil
	return err
}

func (s *subscription) fail(what string, err error) error {
	return s.conn.fail(what+" "+s.spec.Group+" on "+s.spec.Topic, err)
}

// news takes what is to be told, and events.
func (s *subscription) news(f driver.Fetch) (driver.Received, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := driver.Received{Lost: s.lost, Stopped: s.stopped}
	s.lost, s.stopped = nil, nil
	for _, p := range slices.Sorted(maps.Keys(s.held)) {
		if h := s.held[p]; !h.told && h.stored {
			h.told = true
			got.Granted = append(got.Granted, h.claim)
		}
	}
	for _, p := range s.wanted {
		if h := s.held[p]; h != nil && h.told {
			got.Wanted = append(got.Wanted, p)
		}
	}
	s.wanted = nil
	if !s.paused.Load() {
		got.Deliveries = s.reader.take(f, func(p int) *holding {
			h := s.held[p]
			if h == nil || !h.told || h.wanted {
				return nil
			}
			return h
		})
	}
	return got, got.Any()
}

// assigned notes what the new generation gives this member.
func (s *subscription) assigned(mine []int) {
	s.mu.Lock()
	s.coming = nil
	for _, p := range mine {
		if s.held[p] == nil {
			s.coming = append(s.coming, p)
		}
	}
	for p, h := range s.held {
		if !h.wanted && !slices.Contains(mine, p) {
			h.wanted = true
			s.wanted = append(s.wanted, p)
		}
	}
	slices.Sort(s.wanted)
	s.mu.Unlock()
	s.changed.Notify()
}

// expel forgets all partitions: this member is not in the group any more.
func (s *subscription) expel() {
	s.mu.Lock()
	s.member = membership{generation: -1}
	s.loseAll()
	s.mu.Unlock()
	s.changed.Notify()
}

// expire expels this member when its lease has run out, as the broker does.
func (s *subscription) expire() {
	s.mu.Lock()
	over := len(s.held)+len(s.coming) > 0 && time.Since(s.beat) > s.spec.Lease &&
		(!s.joining || time.Since(s.joined) > s.rebalance())
	if over {
		s.loseAll()
	}
	s.mu.Unlock()
	if over {
		s.rejoin() // if the broker still has us
		s.changed.Notify()
	}
}

// loseAll forgets what this member has. The caller holds mu.
func (s *subscription) loseAll() {
	for p := range s.held {
		s.lose(p)
	}
	s.coming = nil
}

func (s *subscription) lose(p int) {
	h := s.held[p]
	delete(s.held, p)
	s.reader.drop(p)
	if h.told {
		s.lost = append(s.lost, p)
		slices.Sort(s.lost)
	}
}

// ended reports whether it was.
func (s *subscription) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone != nil
}

// end stops the subscription because its topic is gone.
func (s *subscription) end(err error) {
	s.mu.Lock()
	s.gone = err
	s.mu.Unlock()
	s.changed.Notify()
}

// Close implements [driver.Subscription].
func (s *subscription) Close() error {
	s.closing.Do(func() {
		s.stop()
		s.done.Wait()
		s.mu.Lock()
		m := s.member
		s.mu.Unlock()
		if m.id != "" && !s.ice.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			s.restore(ctx, m)
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Group, req.MemberID = s.group, m.id
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.id
			req.Members = []kmsg.LeaveGroupRequestMember{member}
			_, _ = req.RequestWith(ctx, s.client) // else the lease runs out
			cancel()
		}
		// First, or the client's own end races its fetches.
		s.client.PurgeTopicsFromConsuming(s.spec.Topic, catalogTopic)
		s.client.Close()
		s.conn.mu.Lock()
		delete(s.conn.subs, s)
		s.conn.mu.Unlock()
		s.changed.Notify()
	})
	return nil
}

// restore gives back the claims that the caller never heard of: nothing happened under
// them. What is not given back is suspect to its next owner.
func (s *subscription) restore(ctx context.Context, m membership) {
	s.mu.Lock()
	all := make(map[int]standing)
	for p, h := range s.held {
		if h.stored && !h.told {
			st := h.standing
			st.Owner = h.before
			all[p] = st
		}
	}
	s.mu.Unlock()
	if len(all) > 0 {
		_, _ = commit(ctx, s.client, s.group, s.topic, m, all)
	}
}

func (s *subscription) frozen() bool { return s.ice.Load() }
