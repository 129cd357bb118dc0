package deednats

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/natstest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// member receives until it has so many events.
type member struct {
	t      *testing.T
	sub    driver.Subscription
	claims map[int]driver.Claim
	ids    []string
	at     string
}

func join(t *testing.T, c *Conn, topic string, lease time.Duration) *member {
	t.Helper()
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: topic, Group: "group", Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	return &member{t: t, sub: sub, claims: make(map[int]driver.Claim)}
}

func (m *member) take(n int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	for len(m.ids) < n {
		r, err := m.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if ctx.Err() != nil {
			m.t.Fatalf("%d of %d events came: %v", len(m.ids), n, m.ids)
		}
		if err != nil {
			m.t.Fatal(err)
		}
		for _, c := range r.Granted {
			m.claims[c.Partition] = c
		}
		for _, d := range r.Deliveries {
			m.ids, m.at = append(m.ids, d.ID), d.Position
		}
	}
}

// settle stores how far the member is, which may have to wait for the server.
func (m *member) settle() {
	m.t.Helper()
	eventually(m.t, func() (bool, error) {
		_, err := m.sub.Settle(m.t.Context(), []driver.Settlement{{Epoch: m.claims[0].Epoch, Position: m.at}})
		return err == nil, err
	})
}

// eventually asks until done.
func eventually(t *testing.T, done func() (bool, error)) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		ok, err := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}

// retry publishes until the server is there.
func retry(t *testing.T, c *Conn, b driver.Batch) (r driver.Receipt) {
	t.Helper()
	eventually(t, func() (bool, error) {
		r = publish(t, c, b)
		if r.Err != nil && !errors.Is(r.Err, driver.ErrAway) {
			t.Fatal(r.Err)
		}
		return r.Err == nil, r.Err
	})
	return r
}

func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	m := join(t, c, "orders", patience)
	for turn := range 5 {
		b := driver.Batch{Topic: "orders", Producer: "p", Seq: int64(turn*10 + 1), Messages: messages(turn*10+1, 10)}
		retry(t, c, b)
		m.take(turn*10 + 10)
		s.Kill()
		s.Restart()
		if r := retry(t, c, b); r.Stored != 0 {
			t.Errorf("after the server was killed %d events were stored again", r.Stored)
		}
	}
	info, err := c.Topic(t.Context(), "orders")
	if err != nil || info.Events != 50 {
		t.Errorf("the topic has %d events, %v; want 50", info.Events, err)
	}
	for i, id := range m.ids[1:] {
		if len(id) < len(m.ids[i]) || len(id) == len(m.ids[i]) && id <= m.ids[i] {
			t.Errorf("after event %s came %s", m.ids[i], id)
		}
	}
}

// TestServerLosesTheEnd puts the files of a server back to what they were, as a power cut
// does without sync_interval: always. What is published then must not be passed over, as
// if it had been handled.
func TestServerLosesTheEnd(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	m := join(t, c, "orders", time.Second)
	retry(t, c, driver.Batch{Topic: "orders", Producer: "p", Seq: 1, Messages: messages(1, 10)})
	m.take(10)
	m.settle()
	s.Stop()
	store, saved := filepath.Join(s.Dir(), "store"), filepath.Join(s.Dir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	retry(t, c, driver.Batch{Topic: "orders", Producer: "p", Seq: 11, Messages: messages(11, 10)})
	m.take(20)
	s.Kill()
	if err := errors.Join(os.RemoveAll(store), os.Rename(saved, store)); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	asked := driver.Batch{Topic: "orders", Producer: "p", Seq: 21}
	eventually(t, func() (bool, error) {
		err := publish(t, c, asked).Err
		if err == nil {
			t.Fatal("what the server lost is answered as if it was there")
		}
		return errors.Is(err, driver.ErrGap), err
	})
	retry(t, c, driver.Batch{Topic: "orders", Producer: "q", Seq: 1, Messages: messages(101, 3)})
	m.take(23)
	if got := m.ids[20:]; got[0] != "101" || got[1] != "102" || got[2] != "103" {
		t.Errorf("after the loss came %v, want 101, 102, 103", got)
	}
}

// TestServerLosesAll starts a server with nothing, as on a new disk.
func TestServerLosesAll(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	m := join(t, c, "orders", time.Second)
	retry(t, c, driver.Batch{Topic: "orders", Messages: messages(1, 10)})
	m.take(10)
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.Dir(), "store")); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	for err == nil || errors.Is(err, driver.ErrAway) && !errors.Is(err, driver.ErrLost) {
		_, err = m.sub.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
	}
	if !errors.Is(err, driver.ErrLost) || !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("the member is told %v, want that the topic was lost", err)
	}
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatalf("make it anew: %v", err)
	}
	retry(t, c, driver.Batch{Topic: "orders", Messages: messages(1, 1)})
}
