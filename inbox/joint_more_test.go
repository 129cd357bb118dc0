package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/internal/testdb"
)

// stuck is an engine of a process that dies before a dead letter has left the side log.
type stuck struct {
	driver.Conn
	driver.SideLog
}

func (c stuck) Unwrap() driver.Conn { return c.Conn }

func (c stuck) Unpark(context.Context, driver.Claim, []string) ([]string, error) {
	return nil, errors.New("the process is about to die")
}

// A dead letter is redriven, its process dies after the commit, and it comes again.
func testJointRedrive(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	var cured atomic.Bool
	var called atomic.Int32
	books := func() *deed.Subscription {
		return deed.Subscribe("books", nil,
			inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
				if !cured.Load() {
					return deed.Reject(errors.New("no such account"))
				}
				called.Add(1)
				return f.book(ctx, tx, e.Data)
			}))
	}
	conn := connect(t, f.at.URL)
	side, _ := driver.As[driver.SideLog](conn)
	dying := busOn(t, stuck{conn, side})
	stop := f.run(dying, books())
	f.publish(payment{"a", 1})
	admin, _ := driver.As[driver.Letters](f.bus.Conn())
	eventually(t, func() string {
		ls, err := admin.List(t.Context(), driver.LetterFilter{States: []driver.LetterState{driver.Dead}})
		if err != nil || len(ls) == 0 {
			return fmt.Sprint("no dead letter: ", err)
		}
		cured.Store(true)
		if _, err := admin.Redrive(t.Context(), []int64{ls[0].ID}); err != nil {
			return err.Error()
		}
		return ""
	})
	f.eventuallyApplied("a1")
	f.publish(payment{"b", 2}, payment{"c", 3}, payment{"d", 4}) // what passes the dead letter's position removes
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n != 4 {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	stop()
	dying.Close()
	f.run(f.bus, books())
	f.settled("books")
	if n := f.count("select count(*) from applied"); n != 4 || called.Load() != 4 {
		t.Errorf("%d effects of 4 events, the handler was called %d times", n, called.Load())
	}
}

func testJointBatch(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	var mu sync.Mutex
	largest := 0
	poison := true
	books := func() *deed.Subscription {
		return deed.Subscribe("books", &deed.SubscribeOptions{Retry: deed.Retry{Min: time.Millisecond}},
			inbox.OnBatch(f.db, Paid, 10, func(ctx context.Context, tx *sql.Tx, es []deed.Received[payment]) error {
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, len(es))
				for i, e := range es {
					if err := f.book(ctx, tx, e.Data); err != nil {
						return err
					}
					if poison && e.Data.Amount == 17 {
						poison = false
						return deed.BatchError{i: errors.New("not yet")}
					}
				}
				return nil
			}))
	}
	const events = 40
	for i := range events {
		f.publish(payment{fmt.Sprint("k", i%4), i})
	}
	dying := busOn(t, unsettled{connect(t, f.at.URL)})
	stop := f.run(dying, books())
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n < events/2 {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	stop()
	dying.Close()
	f.run(f.bus, books())
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n < events {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	f.settled("books")
	got := f.applied()
	if slices.Sort(got); len(got) != events || len(slices.Compact(got)) != events {
		t.Errorf("%d effects of %d events", len(got), events)
	}
	if largest < 2 {
		t.Error("no batch was of several events")
	}
	f.noInbox()
}

func testJointReplay(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	var quiet atomic.Int32
	books := func() *deed.Subscription {
		h := inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			if e.Quiet {
				quiet.Add(1)
			}
			return f.book(ctx, tx, e.Data)
		})
		return deed.Subscribe("books", nil, deed.ReplaySafe(h))
	}
	f.publish(payment{"a", 1}, payment{"a", 2})
	want := 0
	handled := func(bus *deed.Bus, more int) {
		t.Helper()
		stop := f.run(bus, books())
		want += more
		eventually(t, func() string {
			if n := f.count("select count(*) from applied"); n < want {
				return fmt.Sprintf("%d applied, want %d", n, want)
			}
			return ""
		})
		if bus == f.bus {
			f.settled("books")
		}
		stop()
		if n := f.count("select count(*) from applied"); n != want {
			t.Errorf("%d applied, want %d", n, want)
		}
	}
	reset := func(o deed.ResetOptions) {
		t.Helper()
		if err := f.bus.Reset(t.Context(), "books", "payments", deed.From{}, o); err != nil {
			t.Fatal(err)
		}
	}
	handled(f.bus, 2)
	loud := deed.ResetOptions{Effects: true, Fence: true}
	reset(loud)
	dying := busOn(t, unsettled{connect(t, f.at.URL)}) // each run once, whoever dies within it
	handled(dying, 2)
	dying.Close()
	handled(f.bus, 0)
	reset(loud)
	handled(f.bus, 2)
	reset(deed.ResetOptions{Quiet: true, Fence: true})
	f.publish(payment{"a", 3}) // is none
	handled(f.bus, 1)
	if quiet.Load() > 0 {
		t.Errorf("%d effects were repeated by a quiet reset", quiet.Load())
	}
}

func testAnotherDatabaseIsNotJoint(t *testing.T, k testdb.Kind) {
	f := setupAt(t, k, k.New(t), k.New(t).URL)
	f.publish(payment{"a", 1})
	f.run(f.bus, f.books(nil))
	f.eventuallyApplied("a1")
	if n := f.count("select count(*) from deed_inbox"); n != 1 {
		t.Errorf("%d inbox rows, want 1", n)
	}
}

func testKeepAsksForRows(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	db := inbox.New(f.db, &inbox.Options{Keep: time.Hour})
	f.run(f.bus, deed.Subscribe("books", nil,
		inbox.On(db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			return f.book(ctx, tx, e.Data)
		})))
	twice := Paid.New(payment{"a", 1})
	twice.ID = "same"
	for range 2 {
		if err := f.bus.Publish(t.Context(), twice); err != nil {
			t.Fatal(err)
		}
	}
	f.publish(payment{"a", 2})
	f.eventuallyApplied("a1", "a2")
	if n := f.count("select count(*) from deed_inbox"); n != 2 {
		t.Errorf("%d inbox rows, want 2", n)
	}
}
