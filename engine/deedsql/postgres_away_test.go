package deedsql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/sqldb"
)

// TestServerRestarts kills and restarts the server while events are published and
// received: what was accepted is there once and in order, whatever the callers heard, and
// both go on by themselves.
func TestServerRestarts(t *testing.T) { onKilled(t, testServerRestarts) }

func testServerRestarts(t *testing.T, server server, url string) {
	c := openURL(t, url)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan int)
	var failures int
	go func() { published <- publishUntil(ctx, c, &failures) }()
	s := subscribe(t, c, "orders", "g", 10*time.Second)
	for range 3 {
		more(t, c, "orders", 50)
		server.Kill()
		server.Restart()
	}
	cancel()
	n := <-published
	if n == 0 || failures == 0 {
		t.Fatalf("%d events were published and %d calls failed: the server was not killed under load", n, failures)
	}
	next, deadline := 1, time.Now().Add(patience)
	for next <= n {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events came", next-1, n)
		}
		got, err := tryReceive(t, s)
		if err != nil && !errors.Is(err, driver.ErrAway) && !errors.Is(err, driver.ErrNotStored) {
			t.Fatalf("receive: %v", err)
		}
		for _, d := range got.Deliveries {
			if d.ID != fmt.Sprint(next) || d.Position != fmt.Sprint(next) {
				t.Fatalf("got event %s at %s, want %d", d.ID, d.Position, next)
			}
			next++
		}
	}
}

// publishUntil publishes events one by one, each until it is accepted, and returns how
// many.
func publishUntil(ctx context.Context, c *Conn, failures *int) (n int) {
	for ctx.Err() == nil {
		b := []driver.Batch{{
			Topic: "orders", Producer: "p", Seq: int64(n + 1), Messages: []driver.Message{{ID: fmt.Sprint(n + 1)}},
		}}
		for {
			rs, err := c.Publish(context.WithoutCancel(ctx), b)
			if err == nil && rs[0].Err == nil {
				break
			}
			*failures++
			<-time.After(10 * time.Millisecond) // a server that is away answers at once
		}
		n++
	}
	return n
}

// more returns when a topic has so many events more.
func more(t *testing.T, c *Conn, topic string, n int64) {
	t.Helper()
	before := int64(-1)
	until(t, "more events", func() bool {
		info, err := c.Topic(t.Context(), topic)
		if err != nil {
			return false // it may just have been restarted
		}
		if before < 0 {
			before = info.Events
		}
		return info.Events >= before+n
	})
}

func tryReceive(t *testing.T, s driver.Subscription) (driver.Received, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
}

// TestPostgresRole opens the engine as a role without the right to create anything: what
// is missing is said with the command that makes it, and once that has run all works.
func TestPostgresRole(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.URL(server.Database(t))
	admin := openURL(t, url).db // makes tables in public, which the others do not use
	for _, q := range []string{
		"CREATE ROLE clerk LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "DROP VIEW deed_event, deed_scheduled",
	} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	clerk := strings.Replace(url, "postgres@", "clerk@", 1) + "&schema=events"
	for _, u := range []string{clerk, clerk + "&ddl=off"} {
		_, err := Open(t.Context(), u, nil)
		if err == nil || !strings.Contains(err.Error(), "deed migrations print") || !strings.Contains(err.Error(), "events") {
			t.Errorf("%s: error %v, want one that says how the tables are made", u, err)
		}
	}
	script, err := Migrations(clerk)
	if err == nil {
		_, err = admin.Exec(script)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"GRANT USAGE ON SCHEMA events TO clerk",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA events TO clerk",
	} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	for i, u := range []string{clerk, clerk + "&ddl=off"} {
		c := openURL(t, u)
		name := fmt.Sprint("orders", i)
		topicOf(t, c, name, driver.TopicSettings{Partitions: 1})
		publish(t, c, name, 0, 5)
		if got := drain(t, c, name, "g", 5); len(got[0]) != 5 {
			t.Errorf("got %v", got)
		}
		var n int
		if err := c.db.QueryRow(sqldb.Qualify("SELECT count(*) FROM deed_event WHERE topic = ?", "events"), name).
			Scan(&n); err != nil || n != 5 {
			t.Errorf("deed_event has %d rows: %v", n, err)
		}
	}
}
