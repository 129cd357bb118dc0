package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/sqldb"
)

// TestWatchMissesNoCommit has a watch that looks at nothing of its own accord for an
// hour: every commit has to be told of by its writes.
func TestWatchMissesNoCommit(t *testing.T) {
	w := newTestWatch(t)
	w.wantWrites(t)
	w.follow(t, func(int) {})
}

// wantWrites ends a test where the system does not tell of writes.
func (w *testWatch) wantWrites(t *testing.T) {
	t.Helper()
	if w.writes == nil {
		testenv.Require(t, "a system that tells of a file's writes, as Linux does", errors.ErrUnsupported)
	}
}

// TestWatchPolls has a watch that is told of no write.
func TestWatchPolls(t *testing.T) {
	w := newTestWatch(t)
	if w.writes != nil {
		w.writes.close()
		w.writes = nil
	}
	w.follow(t, func(int) {})
}

// TestWatchThatEnds goes on by polling when nothing more is told of, as when the file
// is moved away and back.
func TestWatchThatEnds(t *testing.T) {
	w := newTestWatch(t)
	w.wantWrites(t)
	writes := w.writes
	w.follow(t, func(round int) {
		if round == testRounds/2 {
			writes.close()
		}
	})
}

// TestWatchWaitsForTheCommit tells of a write whose commit comes long after.
func TestWatchWaitsForTheCommit(t *testing.T) {
	w := newTestWatch(t)
	w.wantWrites(t)
	c, err := w.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exec := func(s string) {
		t.Helper()
		if _, err := c.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		for w.pending {
			w.wait(t.Context())
		}
		before, err := dataVersion(w.polls)
		if err != nil {
			t.Fatal(err)
		}
		exec("PRAGMA cache_size = 4")
		exec("BEGIN IMMEDIATE")
		exec("INSERT INTO n (n, data) VALUES (0, randomblob(400000))")
		for range 10 {
			if w.wait(t.Context()); !w.pending {
				t.Fatal("it rests while a transaction is under way")
			}
		}
		exec(end)
		for w.pending {
			w.wait(t.Context())
		}
		after, err := dataVersion(w.polls)
		if err != nil || after != before != (end == "COMMIT") {
			t.Errorf("%s: version %d after %d, %v", end, after, before, err)
		}
	}
	w.polls.close()
	w.writes.close()
}

// testWatch is the watch of a file that is never lively.
type testWatch struct {
	*sqliteWatch
	db *sql.DB
}

func newTestWatch(t *testing.T) *testWatch {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	db, err := sqldb.OpenSQLite(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE n (n INTEGER, data BLOB)"); err != nil {
		t.Fatal(err)
	}
	w, err := c.dialect.(*sqliteDialect).newWatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.net, w.lively = time.Hour, 0
	return &testWatch{w, db}
}

const testRounds = 60

// follow commits again and again, now and then in transactions that write long before,
// and waits each time until the watch has noticed.
func (w *testWatch) follow(t *testing.T, before func(round int)) {
	ctx, cancel := context.WithCancel(t.Context())
	changed, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	defer func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the watch does not end")
		}
	}()
	seen := 0 // what the last look found
	for round := 1; round <= testRounds; round++ {
		before(round)
		if err := w.commit(t.Context(), round); err != nil {
			t.Fatal(err)
		}
		for seen < round {
			select {
			case <-changed:
			case <-time.After(patience):
				t.Fatalf("commit %d was not noticed", round)
			}
			if err := w.db.QueryRow("SELECT max(n) FROM n").Scan(&seen); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// commit writes one commit, or several quickly one after the other, the last of which
// has the number of the round.
func (w *testWatch) commit(ctx context.Context, round int) error {
	c, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var statements []string
	for range rand.IntN(3) {
		statements = append(statements, "INSERT INTO n (n) VALUES (0)")
	}
	statements = append(statements, "PRAGMA cache_size = 4", "BEGIN IMMEDIATE",
		"INSERT INTO n (n, data) VALUES (0, randomblob(40000))", fmt.Sprintf("INSERT INTO n (n) VALUES (%d)", round), "",
		"COMMIT")
	for _, s := range statements {
		if s == "" { // what was written so far is told of now
			pause(ctx, rand.N(20*time.Millisecond))
			continue
		}
		if _, err := c.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
