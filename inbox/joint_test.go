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
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// TestJoint runs what has to hold where the bus lives in the service's own database.
func TestJoint(t *testing.T) {
	testdb.Each(t, func(t *testing.T, k testdb.Kind) {
		type check struct {
			name string
			test func(t *testing.T, k testdb.Kind)
		}
		checks := []check{
			{"no rows", testJointWritesNoRows},
			{"all or nothing", testJointAllOrNothing},
			{"crash before settling", testJointCrashBeforeSettling},
			{"zombie", testJointZombieCannotCommit},
			{"unknown commit", testJointUnknownCommit},
			{"redrive", testJointRedrive},
			{"batch", testJointBatch},
			{"replay", testJointReplay},
			{"another database", testAnotherDatabaseIsNotJoint},
			{"remember", testKeepAsksForRows},
		}
		if k.Dialect != sqldb.DialectSQLite { // who is in a transaction there keeps all others out
			checks = append(checks, check{"frozen", testJointFrozenHoldsNobodyUp})
		}
		for _, c := range checks {
			t.Run(c.name, func(t *testing.T) { c.test(t, k) })
		}
	})
}

func setupJoint(t *testing.T, k testdb.Kind) *fixture {
	t.Helper()
	at := k.New(t)
	return setupAt(t, k, at, at.URL)
}

// books is a subscription whose handler books payments.
func (f *fixture) books(opts *deed.SubscribeOptions) *deed.Subscription {
	return deed.Subscribe("books", opts,
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			return f.book(ctx, tx, e.Data)
		}))
}

// settled waits until a group has handled everything and nothing is noted any more.
func (f *fixture) settled(group string) {
	f.t.Helper()
	groups, _ := driver.As[driver.Groups](f.bus.Conn())
	eventually(f.t, func() string {
		lags, err := groups.Lag(f.t.Context(), group, "payments")
		if err != nil {
			return err.Error()
		}
		for _, l := range lags {
			if l.Events > 0 || l.Parked > 0 {
				return fmt.Sprintf("partition %d lags by %d, %d parked", l.Partition, l.Events, l.Parked)
			}
		}
		if n := f.count("select count(*) from deed_handled"); n != 0 {
			return fmt.Sprintf("%d events are noted that nobody asks for", n)
		}
		return ""
	})
}

// noInbox fails when the inbox has a table.
func (f *fixture) noInbox() {
	f.t.Helper()
	var n int
	if err := f.db.SQL().QueryRow("select count(*) from deed_inbox").Scan(&n); !sqldb.IsNoTable(err) {
		f.t.Errorf("the inbox has a table, with %d rows: %v", n, err)
	}
}

func testJointWritesNoRows(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	box := outbox.New(f.db, "/books", nil)
	sub := deed.Subscribe("books", nil,
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			if err := f.book(ctx, tx, e.Data); err != nil {
				return err
			}
			return box.Publish(ctx, tx, Booked.New(e.Data))
		}))
	f.run(f.bus, box, sub)
	for i := range 20 {
		f.publish(payment{fmt.Sprint(i % 5), i})
	}
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n != 20 {
			return fmt.Sprintf("%d applied", n)
		}
		var causes []string
		for e, err := range f.bus.Read(t.Context(), "receipts", nil) {
			if err != nil {
				return err.Error()
			}
			causes = append(causes, e.CausationID)
		}
		if slices.Sort(causes); len(slices.Compact(causes)) != 20 {
			return fmt.Sprintf("%d receipts", len(causes))
		}
		return ""
	})
	f.settled("books")
	f.noInbox()
}

// trapped is an engine whose SettleIn a test stands behind.
type trapped struct {
	driver.Conn
	driver.Joint
	trap func(call int) error
	mu   sync.Mutex
	n    int
}

func (c *trapped) SettleIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) error {
	if err := c.Joint.SettleIn(ctx, tx, es); err != nil {
		return err
	}
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	return c.trap(n)
}

func (c *trapped) Unwrap() driver.Conn { return c.Conn }

func testJointAllOrNothing(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	if _, err := f.bus.Partition(t.Context(), receipts, deed.Event{}); err != nil { // makes the topic
		t.Fatal(err)
	}
	conn := connect(t, f.at.URL)
	engine, _ := driver.As[driver.Joint](conn)
	again, goOn := make(chan bool), make(chan bool)
	f.bus = busOn(t, &trapped{Conn: conn, Joint: engine, trap: func(call int) error {
		switch call {
		case 1: // after all is written
			return errors.New("the server is gone")
		case 2: // the transaction before was rolled back
			close(again)
			<-goOn
		}
		return nil
	}})
	box := outbox.New(f.db, "/books", &outbox.Options{Bus: f.bus})
	sub := deed.Subscribe("books", &deed.SubscribeOptions{Retry: deed.Retry{Min: time.Millisecond}},
		inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			if err := f.book(ctx, tx, e.Data); err != nil {
				return err
			}
			return box.Publish(ctx, tx, Booked.New(e.Data))
		}))
	f.publish(payment{"a", 1})
	f.run(f.bus, box, sub)
	<-again
	tables := []string{"applied", "balance", "deed_handled", "deed_outbox"}
	if k.Dialect != sqldb.DialectSQLite {
		tables = append(tables, "deed_intake")
	}
	for _, table := range tables {
		if n := f.count("select count(*) from " + table); n != 0 {
			t.Errorf("%d rows in %s of a transaction that failed", n, table)
		}
	}
	if n := f.count("select count(*) from deed_log"); n != 1 {
		t.Errorf("%d events in the log, want the one that is being handled", n)
	}
	close(goOn)
	f.eventuallyApplied("a1")
	f.settled("books")
	eventually(t, func() string {
		if n := f.count("select count(*) from deed_log"); n != 2 {
			return fmt.Sprintf("%d events in the log, want the payment and its receipt", n)
		}
		return ""
	})
}

// unsettled is an engine of a process that dies before it has settled anything.
type unsettled struct{ driver.Conn }

func (c unsettled) Unwrap() driver.Conn { return c.Conn }

func (c unsettled) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	s, err := c.Conn.Subscribe(ctx, spec)
	return unsettledSubscription{s}, err
}

type unsettledSubscription struct{ driver.Subscription }

func (unsettledSubscription) Settle(context.Context, []driver.Settlement) ([]int, error) {
	return nil, errors.New("the process is about to die")
}

func testJointCrashBeforeSettling(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	const events = 50
	for i := range events {
		f.publish(payment{fmt.Sprint(i % 7), 1})
	}
	dying := busOn(t, unsettled{connect(t, f.at.URL)})
	stop := f.run(dying, f.books(nil))
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n < events/2 {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	stop()
	dying.Close()
	if n := f.count("select sum(position) from deed_claim"); n != 0 {
		t.Fatalf("positions are settled up to %d in all", n)
	}
	f.run(f.bus, f.books(nil))
	eventually(t, func() string {
		if n := f.count("select count(*) from applied"); n < events {
			return fmt.Sprintf("%d applied", n)
		}
		return ""
	})
	f.settled("books")
	if n := f.count("select count(*) from applied"); n != events {
		t.Errorf("%d effects of %d events", n, events)
	}
}

// takeAway gives the partitions of a group to whoever comes next, as when a lease lapses.
func (f *fixture) takeAway() {
	f.t.Helper()
	_, err := f.db.SQL().Exec("update deed_claim set epoch = epoch + 1, seat = '', clean = 1")
	if err != nil {
		f.t.Error(err)
	}
}

func testJointZombieCannotCommit(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	var first sync.Once
	var zombie atomic.Bool
	opts := &deed.SubscribeOptions{Retry: deed.Retry{Min: time.Millisecond}}
	opts.Middleware = []deed.Middleware{func(next deed.HandlerFunc) deed.HandlerFunc {
		return func(ctx context.Context, e deed.Received[[]byte]) (err error) {
			mine := false
			first.Do(func() { mine = true })
			if !mine {
				return next(ctx, e)
			}
			f.takeAway()
			if err = next(context.WithoutCancel(ctx), e); errors.Is(err, driver.ErrFenced) {
				zombie.Store(f.count("select count(*) from applied") == 0)
			}
			return err
		}
	}}
	f.publish(payment{"a", 1})
	f.run(f.bus, f.books(opts))
	f.eventuallyApplied("a1")
	if !zombie.Load() {
		t.Error("the zombie was not fenced, or its effect stayed")
	}
	f.settled("books")
}

// A process that is frozen within its handler holds up nobody, and can do nothing when it
// wakes.
func testJointFrozenHoldsNobodyUp(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	frozen, wake := make(chan bool), make(chan bool)
	woke := make(chan error, 1)
	handle := inbox.On(f.db, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
		close(frozen)
		<-wake
		return f.book(ctx, tx, e.Data)
	})
	unaware := func(next deed.HandlerFunc) deed.HandlerFunc {
		return func(ctx context.Context, e deed.Received[[]byte]) error {
			err := next(context.WithoutCancel(ctx), e)
			woke <- err
			return err
		}
	}
	zombie := busOn(t, connect(t, f.at.URL))
	ended := make(chan bool)
	go func() {
		defer close(ended)
		opts := &deed.SubscribeOptions{Middleware: []deed.Middleware{unaware}}
		zombie.Run(context.Background(), deed.Subscribe("books", opts, handle)) //nolint:errcheck // its bus is closed
	}()
	f.publish(payment{"a", 1})
	<-frozen
	zombie.Close() // the group hears no more of it
	f.run(f.bus, f.books(nil))
	f.eventuallyApplied("a1")
	close(wake)
	if err := <-woke; err == nil {
		t.Error("a zombie has committed")
	}
	<-ended
	f.eventuallyApplied("a1")
	f.settled("books")
}

// doubtful is a database that commits and loses the answer, as long as it is told to.
type doubtful struct {
	*sqldb.DB
	lose *atomic.Bool
}

func (d doubtful) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	err := d.DB.Tx(ctx, fn)
	if err == nil && d.lose.Load() {
		return errors.New("the connection is gone")
	}
	return err
}

// An event whose commit is in doubt becomes a dead letter; to redrive it changes nothing.
func testJointUnknownCommit(t *testing.T, k testdb.Kind) {
	f := setupJoint(t, k)
	var lose atomic.Bool
	lose.Store(true)
	sub := deed.Subscribe("books", &deed.SubscribeOptions{Retry: deed.Retry{Attempts: 1}},
		inbox.On(doubtful{f.db, &lose}, Paid, func(ctx context.Context, tx *sql.Tx, e deed.Received[payment]) error {
			return f.book(ctx, tx, e.Data)
		}))
	f.publish(payment{"a", 1})
	f.run(f.bus, sub)
	f.redrive(func() { lose.Store(false) })
	f.publish(payment{"a", 2})
	f.eventuallyApplied("a1", "a2")
	f.settled("books")
}

// redrive waits for one dead letter and redrives it until it is gone.
func (f *fixture) redrive(before func()) {
	f.t.Helper()
	letters := func() (ids []int64) {
		for l, err := range deadletter.List(f.t.Context(), f.bus, nil) {
			if err != nil {
				f.t.Fatal(err)
			}
			ids = append(ids, l.ID)
		}
		return ids
	}
	eventually(f.t, func() string {
		if n := len(letters()); n != 1 {
			return fmt.Sprintf("%d dead letters, want one", n)
		}
		if n := f.count("select count(*) from deed_claim where position > 0"); n != 1 {
			return "the position has not passed the dead letter"
		}
		return ""
	})
	before()
	admin, _ := driver.As[driver.Letters](f.bus.Conn())
	if _, err := admin.Redrive(f.t.Context(), letters()); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, func() string {
		if n := len(letters()); n != 0 {
			return fmt.Sprintf("%d dead letters after the redrive", n)
		}
		return ""
	})
}
