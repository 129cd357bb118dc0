package deadletter_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/sqldb"
)

// openDead returns a bus on which group g has n dead letters, each of its own key.
func openDead(t *testing.T, n int) *deed.Bus {
	t.Helper()
	b := openBus(t)
	for i := range n {
		publish(t, b, order{fmt.Sprint("o", i), i, true})
	}
	handleUntil(t, b, "g", countLetters(t, b, n), rejectBad)
	return b
}

func TestRedriveDry(t *testing.T) {
	b := openDead(t, 3)
	n, err := deadletter.Redrive(t.Context(), b, nil, &deadletter.RedriveOptions{DryRun: true})
	if err != nil || n != 3 {
		t.Errorf("a dry run: %d, %v", n, err)
	}
	for _, l := range letters(t, b, nil) {
		if l.Redriven {
			t.Errorf("letter %d was redriven", l.ID)
		}
	}
	if _, err := deadletter.Redrive(t.Context(), b, nil, &deadletter.RedriveOptions{Rate: -1}); err == nil {
		t.Error("a rate below nothing is taken")
	}
}

func TestRedriveRate(t *testing.T) {
	b := openDead(t, 13)
	var steps []int
	started := time.Now()
	n, err := deadletter.Redrive(t.Context(), b, nil, &deadletter.RedriveOptions{
		Rate:     40,
		Progress: func(p deadletter.RedriveProgress) { steps = append(steps, p.Redriven) },
	})
	took := time.Since(started)
	if err != nil || n != 13 {
		t.Fatalf("redrove %d, %v", n, err)
	}
	if want := 250 * time.Millisecond; took < want { // the last two go after ten others, at 40 a second
		t.Errorf("took %v (want at least %v)", took, want)
	}
	if want := []int{2, 4, 6, 8, 10, 12, 13}; !slices.Equal(steps, want) {
		t.Errorf("progress %v (want %v)", steps, want)
	}
	ctx, stop := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
	defer stop()
	b = openDead(t, 3)
	n, err = deadletter.Redrive(ctx, b, nil, &deadletter.RedriveOptions{Rate: 0.01})
	if n > 1 || err == nil || !strings.Contains(err.Error(), "enough") && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended early: %d, %v", n, err)
	}
}

// Never more letters are dead again than the caller allowed, and what was not tried
// stays as it is.
func TestRedriveStopAfter(t *testing.T) {
	const all, allowed = 40, 3
	b := openDead(t, all)
	// Every third fails still. Which of them come first is nobody's promise.
	var tried, failed atomic.Int32
	n, err := redriveWhile(t, b, allowed, func(o order) error {
		tried.Add(1)
		if o.N%3 == 0 {
			failed.Add(1)
			return deed.Reject(errors.New("still bad"))
		}
		return nil
	})
	if !errors.Is(err, deadletter.ErrStopped) || failed.Load() != allowed || int(tried.Load()) != n {
		t.Errorf("redrove %d, tried %d, of which %d failed: %v", n, tried.Load(), failed.Load(), err)
	}
	left := letters(t, b, nil)
	if len(left) != all-n+allowed {
		t.Errorf("%d are left of %d after %d were redriven and %d failed", len(left), all, n, allowed)
	}

	// Fewer failures than that end it well.
	n, err = redriveWhile(t, b, 1, func(order) error { return nil })
	if err != nil || n != len(left) || len(letters(t, b, nil)) > 0 {
		t.Errorf("redrove %d of %d, %v, left %v", n, len(left), err, letters(t, b, nil))
	}
}

// redriveWhile redrives all letters while group g runs with a handler.
func redriveWhile(t *testing.T, b *deed.Bus, stopAfter int, handle func(order) error) (n int, err error) {
	t.Helper()
	var ended atomic.Bool
	go func() {
		n, err = deadletter.Redrive(t.Context(), b, nil, &deadletter.RedriveOptions{StopAfter: stopAfter})
		ended.Store(true)
	}()
	handleUntil(t, b, "g", ended.Load, handle)
	if !ended.Load() {
		t.FailNow()
	}
	return n, err
}

func TestEdit(t *testing.T) {
	b := openDead(t, 1)
	id := letters(t, b, nil)[0].ID
	mended := []byte(`{"ID":"o0","N":7}`)
	for what, err := range map[string]error{
		"an absent letter": deadletter.SetData(t.Context(), b, 99, mended, "me", "why"),
		"nobody":           deadletter.SetData(t.Context(), b, id, mended, " ", "why"),
		"no reason":        deadletter.SetData(t.Context(), b, id, mended, "me", ""),
		"no JSON":          deadletter.SetData(t.Context(), b, id, []byte("{"), "me", "why"),
		"too much":         deadletter.SetData(t.Context(), b, id, make([]byte, 2<<20), "me", "why"),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "edit dead letter ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := deadletter.SetData(t.Context(), b, id, mended, "ann", "the flag was wrong"); err != nil {
		t.Fatal(err)
	}
	l := letters(t, b, nil)[0]
	if string(l.Event.Data) != string(mended) || len(l.Edits) != 1 || l.Edits[0].By != "ann" ||
		l.Edits[0].Why != "the flag was wrong" || l.Edits[0].At.IsZero() ||
		!strings.Contains(string(l.Edits[0].Data), `"Bad":true`) {
		t.Errorf("after the edit: %+v", l)
	}
	if _, err := deadletter.Redrive(t.Context(), b, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := deadletter.SetData(t.Context(), b, id, mended, "ann", "again"); err == nil {
		t.Error("a redriven letter is edited")
	}
	handleUntil(t, b, "g", countLetters(t, b, 0), func(o order) error {
		if o.N != 7 {
			t.Errorf("handled %+v", o)
		}
		return nil
	})
}

func TestExport(t *testing.T) {
	b := openDead(t, 250) // more than a page
	var out bytes.Buffer
	if n, err := deadletter.Export(t.Context(), b, nil, &out); err != nil || n != 250 {
		t.Fatalf("exported %d, %v", n, err)
	}
	var ids []string
	for line := range bytes.Lines(out.Bytes()) {
		var e deed.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		x := e.Extensions
		if e.Type != "orders.created" || x["deadgroup"] != "g" || x["deadtopic"] != "orders" ||
			x["deadreason"] != "rejected" || x["deaderror"] != "order "+e.Key+" is bad" || x["deadattempts"] != "1" {
			t.Fatalf("an odd line: %s", line)
		}
		ids = append(ids, x["deadletter"])
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 250 {
		t.Errorf("%d different letters", n)
	}
	full := errors.New("no space")
	if n, err := deadletter.Export(t.Context(), b, nil, failingWriter{full}); n != 0 || !errors.Is(err, full) {
		t.Errorf("a full disk: %d, %v", n, err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestRehearse(t *testing.T) {
	b := openDead(t, 1)
	id := letters(t, b, nil)[0].ID
	handle := func(context.Context, deed.Received[order]) error { return nil }
	plain := deed.Subscribe("g", nil, deed.On(created, handle))
	if err := deadletter.Rehearse(t.Context(), b, plain, id); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a handler that undoes nothing: %v", err)
	}
	other := deed.Subscribe("h", nil, deed.On(created, handle))
	if err := deadletter.Rehearse(t.Context(), b, other, id); err == nil ||
		!strings.Contains(err.Error(), "is of group g, the subscription of h") {
		t.Errorf("another group: %v", err)
	}
	if err := deadletter.Rehearse(t.Context(), b, plain, 99); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("an absent letter: %v", err)
	}
}

// An inbox handler is tried for real, and its effects are rolled back.
func TestRehearseInbox(t *testing.T) {
	b := openDead(t, 1)
	id := letters(t, b, nil)[0].ID
	service, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "service.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	if _, err := service.ExecContext(t.Context(), "create table bill (n integer)"); err != nil {
		t.Fatal(err)
	}
	var verdict error
	in := inbox.New(sqldb.SQLite(service), nil)
	s := deed.Subscribe("g", nil, inbox.On(in, created,
		func(ctx context.Context, tx *sql.Tx, e deed.Received[order]) error {
			if _, err := tx.ExecContext(ctx, "insert into bill values (?)", e.Data.N); err != nil {
				return err
			}
			return verdict
		}))
	if err := deadletter.Rehearse(t.Context(), b, s, id); err != nil {
		t.Errorf("a handler that can: %v", err)
	}
	verdict = errors.New("cannot yet")
	if err := deadletter.Rehearse(t.Context(), b, s, id); !errors.Is(err, verdict) {
		t.Errorf("a handler that cannot: %v", err)
	}
	var bills int
	if err := service.QueryRowContext(t.Context(), "select count(*) from bill").Scan(&bills); err != nil || bills > 0 {
		t.Errorf("%d effects stayed, %v", bills, err)
	}
	if left := letters(t, b, nil); len(left) != 1 || left[0].Redriven {
		t.Errorf("left: %+v", left)
	}
}
