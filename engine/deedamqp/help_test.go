package deedamqp_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// shop is a connection to a server with a state of the test's own, and opens more of them.
type shop struct {
	driver.Conn
	t          *testing.T
	url, state string
}

func open(t *testing.T, url string) *shop {
	t.Helper()
	s := &shop{t: t, url: url, state: "sqlite:" + filepath.Join(t.TempDir(), "state.db")}
	s.Conn = s.another(url)
	return s
}

func (s *shop) another(url string) driver.Conn {
	s.t.Helper()
	c, err := pair(s.t.Context(), url, s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// topic makes a topic with groups, and deletes it after the test.
func (s *shop) topic(name string, partitions int, groups ...string) driver.TopicInfo {
	s.t.Helper()
	topics, _ := driver.As[driver.Topics](s.Conn)
	s.t.Cleanup(func() {
		if err := topics.DeleteTopic(context.Background(), name); err != nil {
			s.t.Errorf("delete topic %s: %v", name, err)
		}
	})
	info, err := topics.CreateTopic(s.t.Context(), name, driver.TopicSettings{Partitions: partitions})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, g := range groups {
		s.join(s.Conn, name, g).close()
	}
	return info
}

func event(n int) driver.Message {
	return driver.Message{
		ID: fmt.Sprint(n), Source: "/test", Type: "orders.created", Version: 1, Key: "k",
		Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// publish stores events in partition 0.
func (s *shop) publish(info driver.TopicInfo, ms ...driver.Message) {
	s.t.Helper()
	if err := s.try(info, ms...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) try(info driver.TopicInfo, ms ...driver.Message) error {
	rs, err := s.Publish(s.t.Context(), []driver.Batch{{Topic: info.Name, Messages: ms}})
	if err == nil {
		err = rs[0].Err
	}
	return err
}

// member receives, and remembers what came.
type member struct {
	t      *testing.T
	sub    driver.Subscription
	claims map[int]driver.Claim
	got    []driver.Delivery
}

func (s *shop) join(conn driver.Conn, topic, group string) *member {
	s.t.Helper()
	sub, err := conn.Subscribe(s.t.Context(), driver.SubscribeSpec{Topic: topic, Group: group, Lease: 2 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { sub.Close() })
	return &member{t: s.t, sub: sub, claims: make(map[int]driver.Claim)}
}

func (m *member) close() {
	m.t.Helper()
	if err := m.sub.Close(); err != nil {
		m.t.Error(err)
	}
}

// until receives until done.
func (m *member) until(what string, done func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: not within a minute; %d events came, claims %v", what, len(m.got), m.claims)
		}
		m.receive(200 * time.Millisecond)
	}
}

// receive calls Receive once. What goes wrong passes.
func (m *member) receive(wait time.Duration) {
	ctx, cancel := context.WithTimeout(m.t.Context(), wait)
	defer cancel()
	got, err := m.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
	if err != nil {
		<-ctx.Done()
		return
	}
	for _, p := range got.Lost {
		delete(m.claims, p)
	}
	for _, c := range got.Granted {
		m.claims[c.Partition] = c
	}
	m.got = append(m.got, got.Deliveries...)
}

// take receives until n events have come in all.
func (m *member) take(n int) []driver.Delivery {
	m.t.Helper()
	m.until(fmt.Sprint(n, " events"), func() bool { return len(m.got) >= n })
	return m.got
}

// settle stores that all up to a delivery is handled, and tries again what fails.
func (m *member) settle(d driver.Delivery) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Second)
		lost, err := m.sub.Settle(ctx, []driver.Settlement{
			{Partition: d.Partition, Epoch: m.claims[d.Partition].Epoch, Position: d.Position},
		})
		cancel()
		if err == nil && len(lost) == 0 {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("settle %s: lost %v, %v", d.Position, lost, err)
		}
		m.receive(50 * time.Millisecond)
	}
}

// release hands everything over.
func (m *member) release() {
	m.t.Helper()
	var all []driver.Settlement
	for _, p := range slices.Sorted(maps.Keys(m.claims)) {
		all = append(all, driver.Settlement{Partition: p, Epoch: m.claims[p].Epoch, Release: true})
	}
	if _, err := m.sub.Settle(m.t.Context(), all); err != nil {
		m.t.Fatal(err)
	}
}

func ids(ds []driver.Delivery) []string {
	out := make([]string, len(ds))
	for i := range ds {
		out[i] = ds[i].ID
	}
	return out
}
