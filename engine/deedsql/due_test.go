package deedsql

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// delayed publishes n events over the partitions of a topic; event i is due after
// delay(i).
func delayed(t testing.TB, c *Conn, topic string, partitions, n int, delay func(int) time.Duration) time.Time {
	t.Helper()
	now := time.Now()
	bs := events(topic, partitions, n)
	for p := range bs {
		for i := range bs[p].Messages {
			bs[p].Messages[i].NotBefore = now.Add(delay(i*partitions + p))
		}
	}
	rs, err := c.Publish(t.Context(), bs)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return now
}

// collect receives n events.
func collect(t testing.TB, s driver.Subscription, n int) []driver.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []driver.Delivery
	for len(got) < n {
		r, err := s.Receive(ctx, driver.Fetch{Events: 1000, Bytes: 1 << 20})
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		got = append(got, r.Deliveries...)
	}
	return got
}

func info(t testing.TB, c *Conn, topic string) driver.TopicInfo {
	t.Helper()
	i, err := c.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestManyDueAtOnce delays 4,000 events to one moment and publishes others
// meanwhile. A machine that is too busy to accept all before the first is due gets
// more time.
func TestManyDueAtOnce(t *testing.T) {
	for ahead := time.Second; !manyDueAtOnce(t, ahead); ahead *= 3 {
		t.Logf("%v are too little to accept them all", ahead)
	}
}

// manyDueAtOnce reports whether all was accepted in time.
func manyDueAtOnce(t *testing.T, ahead time.Duration) bool {
	t.Helper()
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 4})
	s := subscribe(t, c, "orders", "g", time.Minute)
	const n = 4000
	// Due within a second, in the opposite order of acceptance.
	start := delayed(t, c, "orders", 4, n, func(i int) time.Duration {
		return ahead + time.Second - time.Duration(i)*time.Second/n
	})
	i := info(t, c, "orders")
	lag, err := c.Lag(t.Context(), "g", "orders")
	if time.Since(start) > ahead {
		return false
	}
	if i.Scheduled != n || i.Events != 0 || i.NextDue.Before(start.Add(ahead)) {
		t.Fatalf("%d scheduled, %d stored, next due %v after the start", i.Scheduled, i.Events, i.NextDue.Sub(start))
	}
	if err != nil || lag[0].Events != 0 {
		t.Fatalf("lag %+v, %v", lag, err)
	}
	publish(t, c, "orders", 1, 10)
	got := collect(t, s, n+10)
	last := make(map[int]string)
	seen := 0
	for _, d := range got {
		if d.NotBefore.IsZero() {
			seen++
			continue
		}
		if before := last[d.Partition]; before != "" && d.ID > before {
			t.Fatalf("partition %d: %s after %s, which is due later", d.Partition, d.ID, before)
		}
		last[d.Partition] = d.ID
	}
	if seen != 10 {
		t.Errorf("%d events came without a delay, want 10", seen)
	}
	if i := info(t, c, "orders"); i.Scheduled != 0 || i.Events != n+10 || !i.NextDue.IsZero() || i.Bytes != (n+10)*200 {
		t.Errorf("at the end: %+v", i)
	}
	return true
}

// TestDelaySurvivesRestart closes the database between acceptance and due time; who
// subscribes afterwards moves the events.
func TestDelaySurvivesRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c, err := Open(t.Context(), "sqlite:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	delayed(t, c, "orders", 1, 3, func(i int) time.Duration { return time.Duration(i) * 100 * time.Millisecond })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, path)
	got := collect(t, subscribe(t, c, "orders", "g", time.Second), 3)
	for i, d := range got {
		if d.Position != fmt.Sprint(i+1) || d.ID != events("orders", 1, 3)[0].Messages[i].ID {
			t.Errorf("event %d: %s at %s", i, d.ID, d.Position)
		}
	}
}

// TestEarlierElsewhere lets one connection wait for a late event while another one
// schedules an early one.
func TestEarlierElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, b := open(t, path), open(t, path)
	topicOf(t, a, "orders", driver.TopicSettings{Partitions: 1})
	s := subscribe(t, a, "orders", "g", time.Minute)
	delayed(t, a, "orders", 1, 1, func(int) time.Duration { return 7 * 24 * time.Hour })
	delayed(t, b, "orders", 1, 1, func(int) time.Duration { return 50 * time.Millisecond })
	b.mu.Lock()
	clear(b.moving) // the other one has to notice
	b.mu.Unlock()
	collect(t, s, 1)
	if i := info(t, a, "orders"); i.Scheduled != 1 || i.Events != 1 {
		t.Errorf("%d scheduled and %d stored, want 1 and 1", i.Scheduled, i.Events)
	}
}

// TestDelayOfADeletedTopic deletes a topic under the mover.
func TestDelayOfADeletedTopic(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	first := topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	delayed(t, c, "orders", 1, 10, func(int) time.Duration { return 30 * time.Millisecond })
	if err := c.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	second := topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	if second.Generation != first.Generation+1 || second.Incarnation == first.Incarnation {
		t.Errorf("created again: generation %d after %d", second.Generation, first.Generation)
	}
	delayed(t, c, "orders", 1, 1, func(int) time.Duration { return time.Millisecond })
	got := collect(t, subscribe(t, c, "orders", "g", time.Second), 1)
	if got[0].Position != "1" {
		t.Errorf("the first event has position %s", got[0].Position)
	}
}

// TestDeleteKeepsOthersDelayed deletes a topic with more delayed events than one sweep
// removes, between and behind those of another topic, which stay.
func TestDeleteKeepsOthersDelayed(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	topicOf(t, c, "other", driver.TopicSettings{Partitions: 1})
	later := func(int) time.Duration { return time.Hour }
	soon := time.Now().Add(3 * time.Second)
	delayed(t, c, "orders", 2, sweepRows, later)
	delayed(t, c, "other", 1, 3, func(int) time.Duration { return time.Until(soon) })
	delayed(t, c, "orders", 2, 2*sweepRows, later)
	if err := c.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	var rows, dues int
	err := c.db.QueryRow("SELECT (SELECT count(*) FROM deed_log), (SELECT count(*) FROM deed_due)").Scan(&rows, &dues)
	if err != nil || rows != 3 || dues > 3 { // fewer when their time has come
		t.Errorf("%d events and %d to come, %v; want the 3 of the other topic", rows, dues, err)
	}
	publish(t, c, "other", 0, 1) // takes a row after the last
	wasDelayed := 0
	for i, d := range collect(t, subscribe(t, c, "other", "g", time.Minute), 4) {
		if d.Position != fmt.Sprint(i+1) {
			t.Errorf("event %d has position %s", i, d.Position)
		}
		if !d.NotBefore.IsZero() {
			wasDelayed++
		}
	}
	if wasDelayed != 3 {
		t.Errorf("%d events were delayed, want 3", wasDelayed)
	}
}

// TestDelayedOfBefore opens a file in which delayed events wait in a table of their own.
func TestDelayedOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sqldb.OpenSQLite(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	step := slices.IndexFunc(sqliteMigrations, func(m sqldb.Migration) bool { return m.SQL == sqliteDue })
	if err := sqldb.SQLite(db).Migrate(t.Context(), component, sqliteMigrations[:step]); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"INSERT INTO deed_topic VALUES (1, 'orders', 1, '', 0, 0, 0, 1, 'i', 1, 0)",
		"INSERT INTO deed_kind VALUES (1, '/orders', 'orders.created', 1, '')",
		`INSERT INTO deed_log (meta, data) VALUES ('[1,"a","k",0]', x'00')`,
		"INSERT INTO deed_run VALUES (1, 0, 1, 1, 1, 1)",
		"INSERT INTO deed_head VALUES (1, 0, 1, 1, 0, 1, 3, 5)",
		`INSERT INTO deed_due (topic_id, due, partition, accepted_at, meta, data) VALUES
			(1, 30, 0, 1, '[1,"d","k",0]', x'0102'), (1, 20, 0, 1, '[1,"c","k",0]', x'0304'),
			(1, 10, 0, 1, '[1,"b","k",0]', x'05')`,
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c := open(t, path)
	ids := ""
	for _, d := range collect(t, subscribe(t, c, "orders", "g", time.Minute), 4) {
		ids += d.ID + fmt.Sprintf("%x ", d.Data)
	}
	if want := "a00 b05 c0304 d0102 "; ids != want {
		t.Errorf("got %s, want %s", ids, want)
	}
	if i := info(t, c, "orders"); i.Scheduled != 0 || i.Events != 4 || i.Bytes != 6 {
		t.Errorf("at the end: %+v", i)
	}
}

// TestRetentionOfMoved removes events that lie in the log in another order than they
// were due in.
func TestRetentionOfMoved(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	const n = 40
	delayed(t, c, "orders", 2, n, func(i int) time.Duration { return time.Duration(n-i) * time.Millisecond })
	s := subscribe(t, c, "orders", "g", time.Minute)
	collect(t, s, n)
	err := c.write(t.Context(), 0, func(t *tx) error {
		if err := t.flush(); err != nil {
			return err
		}
		topic, err := t.topic("orders")
		if err != nil {
			return err
		}
		return t.tables.cut(t, place{topic.id, 0}, n/2-1)
	})
	if err != nil {
		t.Fatal(err)
	}
	var left int
	var oldest string
	err = c.db.QueryRow("SELECT count(*), min(id) FROM deed_event WHERE partition = 0").Scan(&left, &oldest)
	if err != nil || left != 1 || oldest != events("orders", 2, n)[0].Messages[0].ID {
		t.Errorf("%d left, %s, %v", left, oldest, err)
	}
	var rows int
	if err := c.db.QueryRow("SELECT count(*) FROM deed_log").Scan(&rows); err != nil || rows != n/2+1 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// BenchmarkDue compares what an event costs that becomes due with one that is published
// plainly, in transactions of as many: due in the order of acceptance, and in another.
func BenchmarkDue(b *testing.B) {
	const topic, partitions = "orders", 16
	b.Run("plain", func(b *testing.B) {
		c := open(b, filepath.Join(b.TempDir(), "a.db"))
		topicOf(b, c, topic, driver.TopicSettings{Partitions: partitions})
		bs := events(topic, partitions, moveEvents)
		measure(b, func() {
			for stored := 0; stored < b.N; stored += moveEvents {
				if _, err := c.Publish(b.Context(), bs); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	for name, step := range map[string]int{"ordered": 1, "shuffled": 7919} {
		b.Run(name, func(b *testing.B) {
			c := open(b, filepath.Join(b.TempDir(), "a.db"))
			topicOf(b, c, topic, driver.TopicSettings{Partitions: partitions})
			at := time.Now().Add(time.Hour)
			for from := 0; from < b.N; from += moveEvents {
				delayed(b, c, topic, partitions, min(b.N-from, moveEvents), func(i int) time.Duration {
					return time.Until(at) + time.Duration((from+i)*step%b.N)*time.Microsecond
				})
			}
			id := int64(0)
			if err := c.db.QueryRow("SELECT id FROM deed_topic").Scan(&id); err != nil {
				b.Fatal(err)
			}
			measure(b, func() {
				for moved := 0; moved < b.N; moved += moveEvents {
					err := c.write(b.Context(), moveEvents, func(t *tx) error {
						t.now = at.Add(time.Hour).UnixNano()
						return t.move(id)
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
			if i := info(b, c, topic); i.Scheduled != 0 || i.Events != int64(b.N) {
				b.Fatalf("%d scheduled and %d stored of %d", i.Scheduled, i.Events, b.N)
			}
		})
	}
}

// measure reports events a second, and the processor time of each where the system tells.
func measure(b *testing.B, run func()) {
	before := cpuTime()
	b.ResetTimer()
	run()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/event")
}
