package deedsql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// hold keeps the writer busy until release is called.
func hold(t *testing.T, c *Conn) (release func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- c.write(context.Background(), 0, func(*tx) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// queued waits until n jobs are queued.
func queued(t *testing.T, c *Conn, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(c.writer.queue) < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are queued, want %d", len(c.writer.queue), n)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// TestOneFailureFailsNoOther puts a job that spoils its transaction between others.
func TestOneFailureFailsNoOther(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	release := hold(t, c)
	results := make(chan error, 5)
	runs := 0
	for i := range 5 {
		go func() {
			if i == 2 {
				results <- c.write(t.Context(), 0, func(tx *tx) error {
					if runs++; runs > 1 {
						t.Error("the failed job runs again")
					}
					if _, err := tx.exec("UPDATE deed_head SET position = 77"); err != nil {
						return err
					}
					_, err := tx.exec("INSERT INTO deed_group (id, name) VALUES (1, NULL)")
					return err
				})
				return
			}
			rs, err := c.Publish(t.Context(), events("orders", 1, 3))
			if err == nil {
				err = rs[0].Err
			}
			results <- err
		}()
		queued(t, c, i+1)
	}
	release()
	failed := 0
	for range 5 {
		if err := <-results; err != nil {
			failed++
			if !errors.Is(err, driver.ErrNotStored) || !strings.Contains(err.Error(), "NOT NULL") {
				t.Errorf("the failed job got %v", err)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d of 5 jobs failed, want 1", failed)
	}
	if end := ends(t, c, "orders")[0]; end != "12" {
		t.Errorf("the partition ends at %s, want 12", end)
	}
}

// TestContextEndsWhileQueued checks that a caller who gives up in the queue hears
// that nothing was stored, and that this is true.
func TestContextEndsWhileQueued(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	release := hold(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := c.Publish(ctx, events("orders", 1, 3))
		result <- err
	}()
	queued(t, c, 1)
	cancel()
	if err := <-result; !errors.Is(err, driver.ErrNotStored) || !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
	release()
	publish(t, c, "orders", 0, 1)
	if end := ends(t, c, "orders")[0]; end != "1" {
		t.Errorf("the partition ends at %s, want 1: the cancelled batch was stored", end)
	}
}

// TestCloseAnswersTheQueue closes a connection under queued callers.
func TestCloseAnswersTheQueue(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	release := hold(t, c)
	results := make(chan error, 3)
	for i := range 3 {
		go func() {
			_, err := c.Publish(t.Context(), events("orders", 1, 1))
			results <- err
		}()
		queued(t, c, i+1)
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	for range 3 {
		if err := <-results; !errors.Is(err, driver.ErrClosed) {
			t.Errorf("publish: %v", err)
		}
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestWindowIsExact(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2, Dedupe: time.Minute})
	at := int64(1_800_000_000_000_000_000) + int64(59*time.Second) // late in its era
	store := func(at int64, partition int) int {
		t.Helper()
		var r driver.Receipt
		err := c.write(t.Context(), 1, func(t *tx) (err error) {
			t.now = at
			messages := []driver.Message{{ID: "1", Source: "/s", Type: "t"}}
			b := driver.Batch{Topic: "orders", Partition: partition, Messages: messages}
			r, err = t.append(&b)
			return err
		})
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		return r.Stored
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{
		{0, 1}, {0, 0}, {time.Second, 0}, {time.Minute - 1, 0}, {time.Minute, 1}, {2*time.Minute - 1, 0},
		{3 * time.Minute, 1},
	} {
		if got := store(at+int64(step.after), int(step.after)%2); got != step.want {
			t.Errorf("%v after the first: stored %d, want %d", step.after, got, step.want)
		}
	}
}

// TestWindowChanges checks that a window that grows or shrinks forgets nothing that
// it still covers.
func TestWindowChanges(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	publish(t, c, "orders", 0, 10)
	for _, window := range []time.Duration{time.Minute, 24 * time.Hour, 10 * time.Second} {
		if err := c.SetTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1, Dedupe: window}); err != nil {
			t.Fatal(err)
		}
		publish(t, c, "orders", 0, 10) // the same ids
		if end := ends(t, c, "orders")[0]; end != "10" {
			t.Fatalf("with a window of %v the partition ends at %s", window, end)
		}
	}
}

func TestSweep(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, Dedupe: time.Minute})
	b := events("orders", 1, 10)
	b[0].Producer, b[0].Seq = "p", 1
	if _, err := c.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s := subscribe(t, c, "orders", "g", time.Second)
	receive(t, s)
	count := func() string {
		var producers, ids, members int
		err := c.db.QueryRow("SELECT (SELECT count(*) FROM deed_producer), (SELECT count(*) FROM deed_window), "+
			"(SELECT count(*) FROM deed_member)").Scan(&producers, &ids, &members)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(producers, ids, members)
	}
	for _, step := range []struct {
		later time.Duration
		want  string
	}{{0, "1 10 1"}, {3 * time.Minute, "1 0 0"}, {8 * 24 * time.Hour, "0 0 0"}} {
		err := c.write(t.Context(), 0, func(t *tx) error {
			t.now += int64(step.later)
			return sweep(t)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.want {
			t.Errorf("%v later there are %s producers, ids and members, want %s", step.later, got, step.want)
		}
	}
}
