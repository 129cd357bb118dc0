package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

func testEffectRowAndOutboxAreOneTransaction(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	box := outbox.New(f.db, "/books", nil)
	boom := true // the first try fails after everything was written
	sub := deed.Subscribe("books", &deed.SubscribeOptions{Retry: deed.Retry{Min: time.Millisecond}},
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			if err := f.book(ctx, tx, e.Data); err != nil {
				return err
			}
			if err := box.Publish(ctx, tx, Booked.New(e.Data)); err != nil {
				return err
			}
			if boom {
				boom = false
				return errors.New("boom")
			}
			return nil
		}))
	f.run(f.bus, box, sub)
	f.publish(payment{"a", 1})
	f.eventuallyApplied("a1")
	eventually(t, func() string {
		var causes []string
		for e, err := range f.bus.Read(t.Context(), "receipts", nil) {
			if err != nil {
				return err.Error()
			}
			causes = append(causes, e.CausationID)
		}
		if len(causes) != 1 || causes[0] == "" {
			return fmt.Sprintf("receipts caused by %q, want one with a cause", causes)
		}
		return ""
	})
	if boom {
		t.Error("the handler never failed")
	}
}

func testRedeliveryIsSkipped(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	sub := deed.Subscribe("books", nil,
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			return f.book(ctx, tx, e.Data)
		}))
	d := Paid.New(payment{"a", 1})
	d.ID = "same"
	f.run(f.bus, sub)
	for range 5 { // the bus has it five times
		if err := f.bus.Publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(payment{"a", 2})
	f.eventuallyApplied("a1", "a2")
}

func testGroupsAreSeparate(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	h := func(name string) *deed.Subscription {
		return deed.Subscribe(name, nil,
			inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
				return f.book(ctx, tx, e.Data)
			}))
	}
	f.run(f.bus, h("one"), h("two"))
	f.publish(payment{"a", 1})
	f.eventuallyApplied("a1", "a1")
}

// Two members handle one event at the same time, as a zombie and its successor do:
// check-then-act would book twice.
func testConcurrentDuplicates(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	stores := []*sqldb.DB{f.db, f.open()}
	handle := func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error { return f.book(ctx, tx, e.Data) }
	var wg sync.WaitGroup
	for i := range 8 {
		call := inbox.Handle(stores[i%2], handle)
		wg.Go(func() {
			for n := range 20 {
				if err := call(t.Context(), delivery(fmt.Sprint("event-", n), payment{"a", 1})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := f.count("select amount from balance"); n != 20 {
		t.Errorf("balance %d, want 20", n)
	}
}

// A handler that lost its partition while it worked may not commit.
func testZombieCannotCommit(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	ctx, cancel := context.WithCancelCause(t.Context())
	call := inbox.Handle(f.db, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
		err := f.book(ctx, tx, e.Data)
		cancel(deed.ErrClaimLost)
		return err
	})
	if err := call(ctx, delivery("x", payment{"a", 1})); !errors.Is(err, deed.ErrClaimLost) {
		t.Errorf("handler: %v, want ErrClaimLost", err)
	}
	if n := f.count("select count(*) from applied") + f.count("select count(*) from deed_inbox"); n != 0 {
		t.Errorf("%d rows committed by a zombie", n)
	}
}

func testReplayIsARunOfItsOwn(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	call := inbox.Handle(f.db, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
		return f.book(ctx, tx, e.Data)
	})
	for _, c := range []struct {
		replay bool
		run    int
		want   int // effects so far
	}{
		{false, 0, 1},
		{false, 0, 1},
		{false, 1, 1}, // met before the reset without being committed: no replay
		{true, 1, 2},
		{true, 1, 2}, // redelivered within the run
		{true, 2, 3},
	} {
		e := delivery("x", payment{"a", 1})
		e.Replay, e.Run = c.replay, c.run
		if err := call(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if n := f.count("select count(*) from applied"); n != c.want {
			t.Errorf("after %+v: %d effects", c, n)
		}
	}
}

func testBatch(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	var mu sync.Mutex
	var sizes []int
	poison := true
	sub := deed.Subscribe("books", &deed.SubscribeOptions{Retry: deed.Retry{Min: time.Millisecond}},
		inbox.OnBatch(f.db, Paid, 10, func(ctx context.Context, tx *sql.Tx, es []deed.Received[payment]) error {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(es))
			failed := deed.BatchError{}
			for i, e := range es {
				if err := f.book(ctx, tx, e.Data); err != nil {
					return err
				}
				if poison && e.Data.Amount == 2 {
					failed[i] = errors.New("not yet")
				}
			}
			if len(failed) > 0 {
				if len(es) == 1 {
					poison = false
				}
				return failed
			}
			return nil
		}))
	f.publish(payment{"a", 1}, payment{"a", 2}, payment{"a", 3}, payment{"b", 4})
	f.run(f.bus, sub)
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n != 4 {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	var a []string
	for _, s := range f.applied() {
		if strings.HasPrefix(s, "a") {
			a = append(a, s)
		}
	}
	if !slices.Equal(a, []string{"a1", "a2", "a3"}) {
		t.Errorf("account a: %v, want in order and once", a)
	}
	if slices.Max(sizes) < 2 {
		t.Errorf("batches of %v, want one of several events", sizes)
	}
}

// Without a bus: which events a batch handler sees, and what the batch reports.
func testBatchRunsAgainWithoutFailedKeys(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	var seen [][]int
	call := inbox.HandleBatch(f.db, func(ctx context.Context, tx *sql.Tx, es []deed.Received[payment]) error {
		var amounts []int
		failed := deed.BatchError{}
		for i, e := range es {
			amounts = append(amounts, e.Data.Amount)
			if e.Data.Amount == 2 {
				failed[i] = errors.New("bad")
			}
			if err := f.book(ctx, tx, e.Data); err != nil {
				return err
			}
		}
		seen = append(seen, amounts)
		if len(failed) > 0 {
			return failed
		}
		return nil
	})
	var events []deed.Received[payment]
	for i, account := range []string{"a", "a", "b", "a", "b", ""} {
		events = append(events, delivery(fmt.Sprint(i+1), payment{account, i + 1}))
	}
	err := call(t.Context(), events)
	var failed deed.BatchError
	if !errors.As(err, &failed) || len(failed) != 2 || failed[1] == nil || failed[3] == nil {
		t.Errorf("reported %v, want indexes 1 and 3", err)
	}
	if fmt.Sprint(seen) != "[[1 2 3 4 5 6] [1 3 5 6]]" {
		t.Errorf("the handler saw %v", seen)
	}
	f.eventuallyApplied("a1", "b3", "b5", "6")
	if err := call(t.Context(), events[:1]); err != nil || len(seen) != 2 {
		t.Errorf("what was handled came again: %v, seen %v", err, seen)
	}
	plain := errors.New("database of the other side is down")
	broken := inbox.HandleBatch(f.db, func(context.Context, *sql.Tx, []deed.Received[payment]) error { return plain })
	if err := broken(t.Context(), events[1:2]); !errors.Is(err, plain) || errors.As(err, &failed) {
		t.Errorf("plain error reported as %v", err)
	}
}

func testOnAny(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	sub := deed.Subscribe("audit", nil,
		inbox.OnAny(f.db, payments, func(ctx context.Context, tx *sql.Tx, e deed.Received[[]byte]) error {
			return f.book(ctx, tx, payment{e.Type, len(e.Data)})
		}))
	f.run(f.bus, sub)
	f.publish(payment{"a", 1})
	f.eventuallyApplied(fmt.Sprint("payments.paid", len(`{"Account":"a","Amount":1}`)))
}

func testRejectedLeavesNothingBehind(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	sub := deed.Subscribe("books", nil,
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			if err := f.book(ctx, tx, e.Data); err != nil {
				return err
			}
			if e.Data.Amount < 0 {
				return deed.Reject(errors.New("negative"))
			}
			return nil
		}))
	f.run(f.bus, sub)
	f.publish(payment{"bad", -1}, payment{"good", 1})
	f.eventuallyApplied("good1")
	if n := f.count("select count(*) from deed_inbox"); n != 1 {
		t.Errorf("%d inbox rows, want the good event's", n)
	}
}

func testOldRowsAreRemoved(t *testing.T, k testdb.Kind) {
	f := setup(t, k)
	in := inbox.New(f.db, &inbox.Options{Keep: time.Nanosecond})
	call := inbox.Handle(in, func(context.Context, *sql.Tx, deed.Received[payment]) error { return nil })
	if err := call(t.Context(), delivery("first", payment{"a", 1})); err != nil {
		t.Fatal(err)
	}
	for i := range 450 { // more than two batches, old
		_, err := f.db.SQL().Exec(f.db.Rebind("insert into deed_inbox values ('books', '/payments', ?, 0, 'payments', 1)"),
			fmt.Sprint("old", i))
		if err != nil {
			t.Fatal(err)
		}
	}
	later := inbox.New(f.db, &inbox.Options{Keep: time.Hour})
	call = inbox.Handle(later, func(context.Context, *sql.Tx, deed.Received[payment]) error { return nil })
	for i := range 3 {
		if err := call(t.Context(), delivery(fmt.Sprint("new", i), payment{"a", 1})); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.count("select count(*) from deed_inbox where handled = 1"); n != 0 {
		t.Errorf("%d old rows left", n)
	}
	if n := f.count("select count(*) from deed_inbox where id like 'new%'"); n != 3 {
		t.Errorf("%d new rows, want 3", n)
	}
}
