package deedsql

import (
	"context"
	"database/sql"
	"strconv"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// patience bounds every wait of the tests, far above what any takes.
const patience = time.Minute

func open(t testing.TB, path string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), "sqlite:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func topicOf(t testing.TB, c *Conn, name string, s driver.TopicSettings) driver.TopicInfo {
	t.Helper()
	info, err := c.CreateTopic(t.Context(), name, s)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// publish stores n events on one partition.
func publish(t testing.TB, c *Conn, topic string, partition, n int) {
	t.Helper()
	b := events(topic, 1, n)
	b[0].Partition = partition
	rs, err := c.Publish(t.Context(), b)
	if err == nil {
		err = rs[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ends(t testing.TB, c *Conn, topic string) []string {
	t.Helper()
	e, err := c.Ends(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func subscribe(t testing.TB, c *Conn, topic, group string, lease time.Duration) driver.Subscription {
	t.Helper()
	s, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: topic, Group: group, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// receive returns the next news of a subscription.
func receive(t testing.TB, s driver.Subscription) driver.Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func itoa(n int) string { return strconv.Itoa(n) }

// conn and ctx let a test run what is no prepared statement in the writer's turn.
func (t *tx) conn() *sql.Conn { return t.on.(*sql.Conn) }

func (t *tx) ctx() context.Context { return context.Background() }
