package deedsql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestExamineNamesWhoIsInTheWay has a session lock the log: what publishes waits, and
// examining the server names the session by its process, before and after it ends.
func TestExamineNamesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.URL(server.Database(t))
	c := openURL(t, url)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	blocker, err := c.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Rollback() //nolint:errcheck // it has written nothing
	var pid int
	err = errors.Join(blocker.QueryRow("SELECT pg_backend_pid()").Scan(&pid))
	for _, q := range []string{
		"SET LOCAL idle_in_transaction_session_timeout = 0", "LOCK TABLE deed_log IN ACCESS EXCLUSIVE MODE",
	} {
		if err == nil {
			_, err = blocker.Exec(q)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		_, err := c.Publish(context.Background(), events("orders", 1, 1))
		published <- err
	}()
	says := func(what string) (said string) {
		findings, err := Examine(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if f.What == what {
				said += fmt.Sprintf("%s: %s; ", f.Result, f.Value)
			}
		}
		return said
	}
	until(t, "a finding that names the session", func() bool {
		return strings.Contains(says("write lock"), fmt.Sprintf("1 waiting for process %d (deed, idle in transaction)", pid))
	})
	if err := errors.Join(blocker.Rollback(), <-published); err != nil {
		t.Fatal(err)
	}
	until(t, "a finding that nobody waits", func() bool { return says("write lock") == "ok: nobody waits; " })
	if got := says("fsync"); got != "note: off; " {
		t.Errorf("fsync is %s", got)
	}
	if got := says("server"); !strings.HasPrefix(got, "ok: Postgres ") || !strings.HasSuffix(got, ", primary; ") {
		t.Errorf("the server is %s", got)
	}
	_, err = Examine(t.Context(), strings.Replace(url, server.Addr(), "127.0.0.1:1", 1))
	if !errors.Is(err, driver.ErrAway) {
		t.Errorf("a server that is not there: %v", err)
	}
}

// TestStartTogether has processes start at once on a database without schema and tables:
// one makes them, and all of them work.
func TestStartTogether(t *testing.T) {
	t.Parallel()
	url := pgtest.Open(t) + "&schema=together"
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			c, err := Open(t.Context(), url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, err = c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
			if err == nil {
				_, err = c.Publish(t.Context(), events("orders", 1, 1))
			}
			if err != nil {
				t.Errorf("process %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if got := ends(t, openURL(t, url), "orders"); got[0] != "8" {
		t.Errorf("the partition ends at %s, want 8", got[0])
	}
}
