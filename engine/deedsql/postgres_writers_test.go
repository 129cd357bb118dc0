package deedsql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// openURL opens a database and closes it after the test.
func openURL(t testing.TB, url string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
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

// drain receives and settles as the only member of a group until it has n events, and
// returns their ids by partition, in order.
func drain(t *testing.T, c *Conn, topic, group string, n int) map[int][]string {
	t.Helper()
	s := subscribe(t, c, topic, group, 10*time.Second)
	ids := make(map[int][]string)
	epochs := make(map[int]int64)
	for got := 0; got < n; {
		r := receive(t, s)
		for _, claim := range r.Granted {
			epochs[claim.Partition] = claim.Epoch
		}
		var done []driver.Settlement
		for _, d := range r.Deliveries {
			ids[d.Partition] = append(ids[d.Partition], d.ID)
			done = append(done, driver.Settlement{Partition: d.Partition, Epoch: epochs[d.Partition], Position: d.Position})
			got++
		}
		if lost, err := s.Settle(t.Context(), done); err != nil || len(lost) > 0 {
			t.Fatalf("settle: lost %v, %v", lost, err)
		}
	}
	return ids
}

// TestSecondCommitsFirst holds one writer's transaction open after it has given a
// position. Another partition's writer commits before it, and the same partition's comes
// after it: a reader that has seen the second commit still gets the first.
func TestSecondCommitsFirst(t *testing.T) { onServers(t, testSecondCommitsFirst) }

func testSecondCommitsFirst(t *testing.T, url string) {
	first, second := openURL(t, url), openURL(t, url)
	topicOf(t, first, "orders", driver.TopicSettings{Partitions: 2})
	wrote, release := make(chan bool), make(chan bool)
	held, behind := make(chan error, 1), make(chan error, 1)
	go func() {
		held <- first.run(context.Background(), &job{
			batches: []driver.Batch{{Topic: "orders", Partition: 0, Messages: []driver.Message{{ID: "first"}}}},
			run: func(tx *tx) error {
				b := driver.Batch{Topic: "orders", Partition: 0, Messages: []driver.Message{{ID: "first"}}}
				if _, err := tx.append(&b); err != nil {
					return err
				}
				if err := errors.Join(patient(tx), tx.flush()); err != nil {
					return err
				}
				wrote <- true
				<-release
				return nil
			},
		})
	}()
	<-wrote
	one := []driver.Batch{{Topic: "orders", Partition: 1, Messages: []driver.Message{{ID: "elsewhere"}}}}
	if _, err := second.Publish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, second, "orders", "early", 1); got[1][0] != "elsewhere" {
		t.Fatalf("got %v before the first commit", got)
	}
	go func() {
		two := []driver.Batch{{Topic: "orders", Partition: 0, Messages: []driver.Message{{ID: "second"}}}}
		_, err := second.Publish(context.Background(), two)
		behind <- err
	}()
	select {
	case err := <-behind:
		t.Fatalf("a second writer of the partition did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	if err := errors.Join(<-held, <-behind); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(drain(t, first, "orders", "late", 3)); got != "map[0:[first second] 1:[elsewhere]]" {
		t.Errorf("got %s", got)
	}
}

// TestWritersWithRollbacks has 16 writers on 8 connections publish on shared partitions,
// many a batch across several of them, while every fifth transaction is rolled back or
// refused. What was accepted is there once, in each writer's order, and positions have no
// gaps. A group reads all the while and skips nothing.
func TestWritersWithRollbacks(t *testing.T) { onServers(t, testWritersWithRollbacks) }

func testWritersWithRollbacks(t *testing.T, url string) {
	const writers, rounds, partitions = 16, 60, 4
	var conns []*Conn
	for range 8 {
		conns = append(conns, openURL(t, url))
	}
	topicOf(t, conns[0], "orders", driver.TopicSettings{Partitions: partitions})
	accepted := make([][]string, writers) // by writer, "partition/id"
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() { accepted[w] = writeAndRollBack(t, conns[w%len(conns)], w, rounds, partitions) })
	}
	wg.Wait()
	want := make(map[string]bool)
	for _, ids := range accepted {
		for _, id := range ids {
			want[id] = true
		}
	}
	got := drain(t, conns[0], "orders", "all", len(want))
	last := make(map[string]int) // by partition and writer
	for p, ids := range got {
		for _, id := range ids {
			var w, n int
			fmt.Sscanf(id, "%d-%d", &w, &n) //nolint:errcheck // the test's own
			if !want[fmt.Sprint(p, "/", id)] {
				t.Errorf("partition %d has %s, which was not accepted or is there twice", p, id)
			}
			delete(want, fmt.Sprint(p, "/", id))
			if key := fmt.Sprint(p, "/", w); n < last[key] {
				t.Errorf("partition %d has %s after number %d", p, id, last[key])
			} else {
				last[key] = n
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("%d events are lost", len(want))
	}
	var gaps int
	err := conns[0].read.row("SELECT count(*) FROM (SELECT position - row_number() OVER (PARTITION BY partition "+
		"ORDER BY position) AS gap FROM deed_log WHERE topic_id = (SELECT id FROM deed_topic WHERE name = 'orders')) x "+
		"WHERE gap <> 0", nil, &gaps)
	if err != nil || gaps > 0 {
		t.Errorf("%d positions do not count 1, 2, 3: %v", gaps, err)
	}
}

// writeAndRollBack publishes rounds of batches in random orders of partitions and returns
// what was accepted.
func writeAndRollBack(t *testing.T, c *Conn, writer, rounds, partitions int) (accepted []string) {
	spoil := errors.New("rolled back on purpose")
	for n := range rounds {
		id := fmt.Sprintf("%d-%d", writer, n)
		var batches []driver.Batch
		for _, p := range rand.Perm(partitions)[:1+rand.N(partitions)] {
			batches = append(batches, driver.Batch{Topic: "orders", Partition: p, Messages: []driver.Message{{ID: id}}})
		}
		if n%5 == 4 {
			err := c.run(t.Context(), &job{batches: batches, run: func(tx *tx) error {
				for i := range batches {
					if _, err := tx.append(&batches[i]); err != nil {
						return err
					}
				}
				return errors.Join(tx.flush(), spoil)
			}})
			if !errors.Is(err, spoil) {
				t.Errorf("a job that fails: %v", err)
			}
			continue
		}
		if _, err := c.Publish(t.Context(), batches); err != nil {
			t.Error(err)
			return accepted
		}
		for _, b := range batches {
			accepted = append(accepted, fmt.Sprint(b.Partition, "/", id))
		}
	}
	return accepted
}

// TestUsersLongTransaction leaves a user's transaction open, which has written to the
// same database and holds a snapshot: events flow all the same, and so does everything
// that groups do.
func TestUsersLongTransaction(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	if _, err := c.db.Exec("CREATE TABLE users_own (n int)"); err != nil {
		t.Fatal(err)
	}
	user, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer user.Rollback() //nolint:errcheck // it wrote nothing of interest
	for _, q := range []string{"SET LOCAL idle_in_transaction_session_timeout = 0", "INSERT INTO users_own VALUES (1)"} {
		if _, err := user.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, c, "orders", 0, 300)
	publish(t, c, "orders", 1, 300)
	if got := drain(t, c, "orders", "g", 600); len(got[0]) != 300 || len(got[1]) != 300 {
		t.Errorf("got %d and %d events", len(got[0]), len(got[1]))
	}
	if err := c.ResetGroup(t.Context(), "g", "orders", driver.Reset{Fence: true}); err != nil {
		t.Error(err)
	}
	if err := user.Commit(); err != nil {
		t.Error(err)
	}
}

// TestPartOfACallFails has the database refuse one partition: the batches that went with
// it are not stored, and the receipts say so; the others are.
func TestPartOfACallFails(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 4})
	for _, q := range []string{
		"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$",
		"CREATE TRIGGER refuses BEFORE INSERT ON deed_log FOR EACH ROW WHEN (NEW.partition = 3) EXECUTE FUNCTION refuse()",
	} {
		if _, err := c.db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	receipts, err := c.Publish(t.Context(), events("orders", 4, 4*laneEvents))
	if err != nil {
		t.Fatal(err)
	}
	for p, r := range receipts {
		if p%2 == 0 && (r.Err != nil || r.Stored != laneEvents) {
			t.Errorf("partition %d: %d events are stored, %v", p, r.Stored, r.Err)
		}
		if p%2 == 1 && !errors.Is(r.Err, driver.ErrNotStored) {
			t.Errorf("partition %d: error %v, want one that wraps ErrNotStored", p, r.Err)
		}
	}
	if got := fmt.Sprint(ends(t, c, "orders")); got != fmt.Sprintf("[%d  %[1]d ]", laneEvents) {
		t.Errorf("the partitions end at %s", got)
	}
	if _, err := c.Publish(t.Context(), events("orders", 4, 4)); !errors.Is(err, driver.ErrNotStored) {
		t.Errorf("a call that fails as a whole: %v", err)
	}
}
