package drivertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/deedgo/deed/driver"
)

// member is a subscription that keeps what it was told, and fails its check when
// an answer of Receive breaks the contract. One goroutine uses it.
type member struct {
	e      *Env
	conn   driver.Conn
	sub    driver.Subscription
	spec   driver.SubscribeSpec
	claims map[int]driver.Claim
	wanted map[int]bool
	lost   []int
	at     map[int]string // last position delivered or claimed
	got    []driver.Delivery
	missed driver.Missed
	holes  bool // events before the first delivered may be gone, so that positions need not be dense
}

// join subscribes conn to a group on a topic.
func (e *Env) join(conn driver.Conn, topic, group string) *member {
	e.t.Helper()
	return e.joinFrom(conn, topic, group, driver.From{})
}

func (e *Env) joinFrom(conn driver.Conn, topic, group string, from driver.From) *member {
	e.t.Helper()
	return e.joinBy(conn, topic, group, func(ctx context.Context, s driver.SubscribeSpec) (driver.Subscription, error) {
		s.From = from
		return conn.Subscribe(ctx, s)
	})
}

// joinBy joins as subscribe does it.
func (e *Env) joinBy(
	conn driver.Conn, topic, group string,
	subscribe func(context.Context, driver.SubscribeSpec) (driver.Subscription, error),
) *member {
	e.t.Helper()
	spec := driver.SubscribeSpec{Topic: topic, Group: group, Lease: lease}
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	sub, err := subscribe(ctx, spec)
	e.must("subscribe group "+group, err)
	if _, ok := e.joined[topic]; !ok {
		e.joined[topic] = 0
	}
	m := &member{
		e: e, conn: conn, sub: sub, spec: spec,
		claims: make(map[int]driver.Claim), wanted: make(map[int]bool), at: make(map[int]string),
	}
	e.t.Cleanup(func() {
		if err := sub.Close(); err != nil && !errors.Is(err, driver.ErrClosed) {
			e.t.Errorf("close the subscription of %s: %v", group, err)
		}
	})
	return m
}

// receive calls Receive once and checks the answer. It is false when the turn
// ended before there was any.
func (m *member) receive(f driver.Fetch, wait time.Duration) (driver.Received, bool) {
	t := m.e.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	got, err := m.sub.Receive(ctx, f)
	if err != nil {
		if ctx.Err() == nil || t.Context().Err() != nil {
			t.Fatalf("Receive: %v", err)
		}
		return driver.Received{}, false
	}
	m.note(got)
	m.checkBounds(f, got)
	for i := range got.Deliveries {
		m.checkDelivery(&got.Deliveries[i])
	}
	for _, p := range got.Wanted { // from the next Receive on
		m.wanted[p] = true
	}
	m.got = append(m.got, got.Deliveries...)
	return got, true
}

// note keeps what was lost and granted.
func (m *member) note(got driver.Received) {
	for _, p := range got.Lost {
		delete(m.claims, p)
		delete(m.wanted, p)
		m.lost = append(m.lost, p)
	}
	m.missed.Events += got.Missed.Events
	for _, c := range got.Granted {
		if c.Group != m.spec.Group || c.Topic != m.spec.Topic {
			m.e.t.Errorf("granted %s/%s, subscribed to %s/%s", c.Group, c.Topic, m.spec.Group, m.spec.Topic)
		}
		who := fmt.Sprintf("%s/%s/%d", c.Group, c.Topic, c.Partition)
		if last := m.e.epochs[who]; c.Epoch <= last && !m.e.features.Ephemeral {
			m.e.t.Errorf("partition %d: claim has epoch %d after %d (want a larger one, in a new group of an old name "+
				"too, or a member of the old one passes for its owner)", c.Partition, c.Epoch, last)
		}
		m.e.epochs[who] = c.Epoch
		m.claims[c.Partition] = c
		m.at[c.Partition] = c.Position
	}
	for _, p := range got.Wanted {
		if _, ok := m.claims[p]; !ok {
			m.e.t.Errorf("partition %d is wanted from a member that does not have it", p)
		}
	}
}

// checkBounds checks an answer against what was asked for.
func (m *member) checkBounds(f driver.Fetch, got driver.Received) {
	bytes := 0
	for _, d := range got.Deliveries {
		bytes += len(d.Data)
		if slices.Contains(f.Full, d.Partition) {
			m.e.t.Errorf("event %s comes from partition %d, which has no room", d.ID, d.Partition)
		}
	}
	if len(got.Deliveries) > f.Events {
		m.e.t.Errorf("%d deliveries, want at most %d", len(got.Deliveries), f.Events)
	}
	if bytes > f.Bytes && len(got.Deliveries) > 1 {
		m.e.t.Errorf("%d deliveries hold %d bytes, want at most %d", len(got.Deliveries), bytes, f.Bytes)
	}
}

// checkDelivery checks that an event may come to this member, and comes in turn.
func (m *member) checkDelivery(d *driver.Delivery) {
	t := m.e.t
	if _, ok := m.claims[d.Partition]; !ok {
		t.Errorf("event %s comes from partition %d, which this member does not have", d.ID, d.Partition)
	}
	if m.wanted[d.Partition] {
		t.Errorf("event %s was fetched from partition %d after that was wanted", d.ID, d.Partition)
	}
	if flaw := flawOf(d.Position); flaw != "" {
		t.Errorf("event %s has position %q: %s", d.ID, d.Position, flaw)
	}
	if d.Position == "" || d.Position == m.at[d.Partition] {
		t.Errorf("event %s has position %q after %q", d.ID, d.Position, m.at[d.Partition])
	}
	if m.e.features.DensePos && !m.holes {
		last, _ := strconv.Atoi(m.at[d.Partition])
		if want := strconv.Itoa(last + 1); d.Position != want {
			t.Errorf("partition %d: event %s has position %q after %q, want %q",
				d.Partition, d.ID, d.Position, m.at[d.Partition], want)
		}
	}
	m.at[d.Partition] = d.Position
}

// roomy is a fetch whose bounds are not the point.
func roomy() driver.Fetch { return driver.Fetch{Events: roomyEvents, Bytes: roomyBytes} }

// until lets the members receive in turn until done, which must happen.
func (e *Env) until(what string, done func() bool, ms ...*member) {
	e.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			for i, m := range ms {
				e.t.Logf("member %d: claims %v, wanted %v, lost %v, %d deliveries", i, m.partitions(),
					slices.Sorted(maps.Keys(m.wanted)), m.lost, len(m.got))
			}
			e.t.Fatalf("%s: not within %v", what, patience)
		}
		for _, m := range ms {
			m.receive(roomy(), turn)
		}
	}
}

// during lets the members receive in turn for a while.
func (e *Env) during(length time.Duration, ms ...*member) {
	e.t.Helper()
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, m := range ms {
			m.receive(roomy(), turn)
		}
	}
}

// owns waits until the member has n partitions.
func (m *member) owns(n int) {
	m.e.t.Helper()
	m.e.until(fmt.Sprintf("%d claims", n), func() bool { return len(m.claims) == n }, m)
}

// take waits until n events have come in all, and returns them.
func (m *member) take(n int) []driver.Delivery {
	m.e.t.Helper()
	m.e.until(fmt.Sprintf("%d events", n), func() bool { return len(m.got) >= n }, m)
	if len(m.got) > n {
		m.e.t.Errorf("%d events came, want %d", len(m.got), n)
	}
	return m.got
}

// quiet fails the check when an event comes within two turns.
func (m *member) quiet(why string) {
	m.e.t.Helper()
	start := len(m.got)
	m.e.during(2*turn, m)
	for _, d := range m.got[start:] {
		m.e.t.Errorf("event %s (partition %d, position %s) came: %s", d.ID, d.Partition, d.Position, why)
	}
}

// settle stores a position for a partition that the member has.
func (m *member) settle(partition int, position string) {
	m.e.t.Helper()
	m.settleAll(driver.Settlement{Partition: partition, Epoch: m.claims[partition].Epoch, Position: position})
}

// release settles a partition and hands it over.
func (m *member) release(partition int, position string) {
	m.e.t.Helper()
	m.settleAll(driver.Settlement{
		Partition: partition, Epoch: m.claims[partition].Epoch, Position: position, Release: true,
	})
	delete(m.claims, partition)
	delete(m.wanted, partition)
}

func (m *member) settleAll(s ...driver.Settlement) {
	m.e.t.Helper()
	ctx, cancel := context.WithTimeout(m.e.t.Context(), patience)
	defer cancel()
	lost, err := m.sub.Settle(ctx, s)
	m.e.must("settle", err)
	if len(lost) > 0 {
		m.e.t.Fatalf("settle: partitions %v are lost, and nobody else can have them", lost)
	}
}

// obey releases what is wanted, at the position that was last delivered.
func (m *member) obey() {
	m.e.t.Helper()
	for _, p := range slices.Sorted(maps.Keys(m.wanted)) {
		m.release(p, m.at[p])
	}
}

// close ends the subscription without releasing anything.
func (m *member) close() {
	m.e.t.Helper()
	m.e.must("close the subscription", m.sub.Close())
}

// partitions returns those that the member has.
func (m *member) partitions() []int { return slices.Sorted(maps.Keys(m.claims)) }

// ids returns the ids of deliveries in order.
func ids(ds []driver.Delivery) []string {
	s := make([]string, len(ds))
	for i := range ds {
		s[i] = ds[i].ID
	}
	return s
}

// of returns the deliveries of one partition.
func of(ds []driver.Delivery, partition int) []driver.Delivery {
	return slices.DeleteFunc(slices.Clone(ds), func(d driver.Delivery) bool { return d.Partition != partition })
}
