package deedsql

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/sqldb"
)

// wake publishes on one connection and returns when a subscription of another has the
// events, with how often its connection was told that something may have changed.
func wake(t *testing.T, publisher, reader *Conn, rounds int) (noticed int64) {
	t.Helper()
	topicOf(t, publisher, "orders", driver.TopicSettings{Partitions: 1})
	s := subscribe(t, reader, "orders", "g", 10*time.Second)
	for r := receive(t, s); len(r.Granted) == 0; {
		r = receive(t, s)
	}
	before := reader.commits.Load()
	for n := range rounds {
		publish(t, publisher, "orders", 0, 1)
		for r := receive(t, s); ; r = receive(t, s) {
			if len(r.Deliveries) == 1 && r.Deliveries[0].Position == fmt.Sprint(n+1) {
				break
			}
			if len(r.Deliveries) > 0 {
				t.Fatalf("round %d: got %d events, the first at %s", n, len(r.Deliveries), r.Deliveries[0].Position)
			}
		}
	}
	return reader.commits.Load() - before
}

// TestNotified has a reader woken by notifications: with looking by itself put off for
// good, every event still arrives.
func TestNotified(t *testing.T) {
	url := pgtest.Open(t)
	publisher, reader := openURL(t, url), openURL(t, url)
	reader.dialect.(*postgresDialect).looks = time.Hour
	if wake(t, publisher, reader, 20) == 0 {
		t.Error("nothing was noticed")
	}
}

// TestPolled has a reader that is told of nothing: it looks by itself.
func TestPolled(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	for name, reader := range map[string]string{"by its URL": url + "&pooler=transaction", "beside notifications": url} {
		t.Run(name, func(t *testing.T) {
			schema := "&schema=" + strings.ReplaceAll(name, " ", "_")
			publisher := openURL(t, url+schema)
			publisher.dialect.(*postgresDialect).closing() // it tells nobody
			if wake(t, publisher, openURL(t, reader+schema), 3) == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

// TestPoolerIsNoticed connects through a pooler that lends connections for a transaction
// without saying so, which is refused with what to say.
func TestPoolerIsNoticed(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := pgtest.StartPooler(t, server).URL(server.Database(t))
	_, err := Open(t.Context(), url, nil)
	if err == nil || !strings.Contains(err.Error(), "?pooler=transaction") {
		t.Errorf("error %v, want one that says ?pooler=transaction", err)
	}
}

// TestBurstsAreToldOnce counts the notifications of a process that commits far more often
// than it may tell.
func TestBurstsAreToldOnce(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	d := c.dialect.(*postgresDialect)
	listener := listening(t, d)
	started := time.Now()
	for time.Since(started) < 100*postgresTell {
		d.committed()
		runtime.Gosched()
	}
	most := int(time.Since(started)/postgresTell) + 2
	told := 0
	for {
		n, err := listen(t.Context(), listener, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n == "" {
			break
		}
		told++
	}
	if told == 0 || told > most {
		t.Errorf("told %d times, want 1 to %d", told, most)
	}
}

// TestFrozenWriter stops a process within a write transaction on a partition: the server
// ends the transaction, and others write.
func TestFrozenWriter(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t)
	c := openURL(t, url)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	w := start(t, "stand still", url)
	if !w.lines.Scan() {
		t.Fatalf("the worker ended: %v", w.lines.Err())
	}
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	publish(t, c, "orders", 0, 1)
	t.Logf("waited %v for a writer that stood still", time.Since(started).Round(time.Millisecond))
	if got := drain(t, c, "orders", "g", 1); got[0][0] == "frozen" {
		t.Error("what the server rolled back is there")
	}
}

// workStandStill says that it is within a transaction, and stays there.
func workStandStill(ctx context.Context, c *Conn) error {
	b := []driver.Batch{{Topic: "orders", Messages: []driver.Message{{ID: "frozen"}}}}
	return c.run(ctx, &job{batches: b, run: func(tx *tx) error {
		if _, err := tx.append(&b[0]); err != nil {
			return err
		}
		if err := tx.flush(); err != nil {
			return err
		}
		fmt.Println()
		<-ctx.Done()
		return ctx.Err()
	}})
}

// listening connects and listens.
func listening(t *testing.T, d *postgresDialect) *pgx.Conn {
	t.Helper()
	listener, err := pgx.ConnectConfig(t.Context(), d.config)
	if err == nil {
		_, err = listener.Exec(t.Context(), "LISTEN "+sqldb.QuoteName(d.channel))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(context.Background()) })
	return listener
}
