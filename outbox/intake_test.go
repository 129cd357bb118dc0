package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/sqldb"
)

// TestIntake runs what has to hold where the bus lives in the service's own database and
// takes events within its transactions.
func TestIntake(t *testing.T) {
	testdb.Each(t, func(t *testing.T, k testdb.Kind) {
		type check struct {
			name string
			test func(t *testing.T, k testdb.Kind)
		}
		checks := []check{
			{"direct does not overtake", testDirectDoesNotOvertake},
			{"order both ways", testOrderBothWays},
			{"rolled back", testIntakeRolledBack},
			{"as published", testIntakeArrivesAsPublished},
			{"delayed", testIntakeDelays},
			{"another database", testIntakeOfAnotherDatabase},
			{"last pass", testIntakeLastPass},
		}
		if k.Dialect == sqldb.DialectSQLite {
			checks = append(checks, check{"absent topic", testFileTakesRows})
		} else {
			checks = append(checks, check{"open transaction", testOpenTransactionHoldsNothingBack},
				check{"refused at once", testIntakeRefusesAtOnce}, check{"deleted topic", testIntakeOfDeletedTopic})
		}
		for _, c := range checks {
			t.Run(c.name, func(t *testing.T) { c.test(t, k) })
		}
	})
}

// Without any relay: what is published directly sequences what was committed before.
func testDirectDoesNotOvertake(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	f.transact(note{"a", 1}, note{"b", 1})
	f.transact(note{"a", 2})
	want := 3
	if k.Dialect == sqldb.DialectSQLite { // they have their positions
		want = 0
	}
	if n := f.pending(); n != want {
		t.Errorf("%d events without a position, want %d", n, want)
	}
	f.direct(note{"a", 3})
	f.transact(note{"a", 4})
	f.direct(note{"a", 5})
	f.direct(note{"b", 2})
	if got := f.stored(); !slices.Equal(got["a"], []int{1, 2, 3, 4, 5}) || !slices.Equal(got["b"], []int{1, 2}) {
		t.Errorf("stored %v", got)
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d events without a position, want none", n)
	}
}

// Several writers, each with a key of its own, publish both ways while relays of two
// processes run.
func testOrderBothWays(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	other := setupIntake(t, f.at, f.at.URL)
	f.run()
	other.run()
	const writers, events = 6, 40
	var wg sync.WaitGroup
	for w := range writers {
		by := []*intakeFixture{f, other}[w%2]
		wg.Go(func() {
			for n := range events {
				if (n+w)%3 == 0 {
					by.direct(note{fmt.Sprint("k", w), n})
				} else {
					by.transact(note{fmt.Sprint("k", w), n})
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() string {
		if n := f.pending(); n != 0 {
			return fmt.Sprintf("%d events without a position", n)
		}
		return ""
	})
	got := f.stored()
	for key, ns := range got {
		if !slices.IsSorted(ns) || len(ns) != events {
			t.Errorf("key %s: %v", key, ns)
		}
	}
	if len(got) != writers {
		t.Errorf("%d keys, want %d", len(got), writers)
	}
	if rows := f.count("select count(*) from deed_outbox"); rows != 0 {
		t.Errorf("%d rows in the outbox, want none", rows)
	}
}

func testIntakeRolledBack(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	no := errors.New("no")
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		if err := f.box.Publish(ctx, tx, Noted.New(note{"a", 1})); err != nil {
			return err
		}
		return no
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	f.direct(note{"a", 2})
	if got := f.stored(); !slices.Equal(got["a"], []int{2}) {
		t.Errorf("stored %v, want 2 alone", got)
	}
}

// A transaction that stays open holds nothing back, not even its own key: it has not
// happened yet.
func testOpenTransactionHoldsNothingBack(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	f.direct(note{"a", 0}) // makes the topic
	f.run()
	tx, err := f.db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := f.box.Publish(t.Context(), tx, Noted.New(note{"a", 3})); err != nil {
		t.Fatal(err)
	}
	f.transact(note{"a", 1})
	f.direct(note{"a", 2})
	if got := f.stored(); !slices.Equal(got["a"], []int{0, 1, 2}) {
		t.Errorf("stored %v while a transaction is open", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { // nobody says that it was committed
		if got := f.stored(); !slices.Equal(got["a"], []int{0, 1, 2, 3}) {
			return fmt.Sprintf("stored %v", got)
		}
		return ""
	})
}

func testIntakeArrivesAsPublished(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	d := Noted.New(note{"ключ", 1})
	d.ID, d.Subject, d.TraceParent = "id-1", "the subject", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	d.Time = time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	d.Extensions = map[string]string{"tenant": "ö"}
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, d) })
	if err != nil {
		t.Fatal(err)
	}
	f.direct(note{"ключ", 2})
	for e, err := range f.bus.Read(t.Context(), "notes", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.ID != d.ID || e.Source != "/notes" || e.Subject != d.Subject || !e.Time.Equal(d.Time) || e.Key != "ключ" ||
			e.Extensions["tenant"] != "ö" || string(e.Data) != `{"Key":"ключ","N":1}` {
			t.Errorf("read %+v", e.Event)
		}
		return
	}
	t.Error("nothing was stored")
}

func testIntakeDelays(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	f.run()
	d := Noted.New(note{"a", 2})
	d.NotBefore = time.Now().Add(2 * time.Second)
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, d) })
	if err != nil {
		t.Fatal(err)
	}
	f.transact(note{"a", 1})
	heard := make(chan int, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- f.bus.Run(ctx, deed.Subscribe("ear", nil,
			deed.On(Noted, func(_ context.Context, e deed.Received[note]) error { heard <- e.Data.N; return nil })))
	}()
	var got []int
	for late := time.After(time.Minute); len(got) < 2; {
		select {
		case n := <-heard:
			got = append(got, n)
		case <-late:
			t.Fatalf("within a minute only %v of 2 events were heard", got)
		}
	}
	if got[0] != 1 || got[1] != 2 || time.Now().Before(d.NotBefore) {
		t.Errorf("heard %v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func testIntakeOfAnotherDatabase(t *testing.T, k testdb.Kind) {
	f := setupIntake(t, k.New(t), k.New(t).URL)
	f.transact(note{"a", 1})
	if n := f.count("select count(*) from deed_outbox"); n != 1 {
		t.Errorf("%d rows in the outbox, want 1", n)
	}
	f.run()
	eventually(t, func() string {
		if got := f.stored(); len(got["a"]) != 1 {
			return fmt.Sprintf("stored %v", got)
		}
		return ""
	})
}

func testIntakeRefusesAtOnce(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return f.box.Publish(ctx, tx, Noted.New(note{string(make([]byte, 3000)), 1}))
	})
	if err == nil {
		t.Error("a key that the engine cannot keep was taken")
	}
	other := setupIntake(t, f.at, f.at.URL)
	if err := other.bus.Run(t.Context(), f.box); err == nil {
		t.Error("the outbox of one bus runs on another")
	}
}

func testIntakeLastPass(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.transact(note{"a", 1})
	if err := f.bus.Run(ctx, f.box); err != nil {
		t.Fatal(err)
	}
	if got := f.stored(); len(got["a"]) != 1 {
		t.Errorf("stored %v after the last pass", got)
	}
}

func testIntakeOfDeletedTopic(t *testing.T, k testdb.Kind) {
	f := joined(t, k)
	f.transact(note{"a", 1})
	topics := f.bus.Conn().(*deedsql.Conn)
	if err := topics.DeleteTopic(t.Context(), "notes"); err != nil {
		t.Fatal(err)
	}
	if n := f.count("select count(*) from deed_intake"); n != 0 {
		t.Errorf("%d events of a topic that was deleted", n)
	}
	var failed int
	eventually(t, func() string { // what the bus remembers of the topic is found to be wrong once
		err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			return f.box.Publish(ctx, tx, Noted.New(note{"a", 2}))
		})
		if err != nil {
			failed++
			return err.Error()
		}
		return ""
	})
	f.direct(note{"a", 3})
	if got := f.stored(); !slices.Equal(got["a"], []int{2, 3}) || failed > 1 {
		t.Errorf("stored %v, %d tries failed", got, failed)
	}
}

// A transaction on a file cannot create a topic: its first events go by rows, and so do all
// until these are sent.
func testFileTakesRows(t *testing.T, k testdb.Kind) {
	at := k.New(t)
	f := setupIntake(t, at, at.URL)
	f.transact(note{"a", 1})
	stop := f.run()
	eventually(t, func() string {
		if n := f.pending(); n != 0 {
			return fmt.Sprintf("%d events pending", n)
		}
		return ""
	})
	stop()
	if _, err := f.db.SQL().Exec("update deed_outbox set state = 'new'"); err != nil { // as if it was not sent yet
		t.Fatal(err)
	}
	f.transact(note{"a", 2})
	if n := f.count("select count(*) from deed_outbox"); n != 2 {
		t.Errorf("%d rows, want both events: the second overtakes the first", n)
	}
	if _, err := f.db.SQL().Exec("update deed_outbox set state = 'sent'"); err != nil {
		t.Fatal(err)
	}
	f.transact(note{"a", 3})
	if got := f.stored(); !slices.Equal(got["a"], []int{1, 3}) {
		t.Errorf("stored %v, want 3 behind 1 at once", got)
	}
}
