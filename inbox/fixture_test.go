package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/sqldb"
)

type payment struct {
	Account string
	Amount  int
}

var (
	payments = deed.NewTopic("payments", &deed.TopicOptions{Partitions: 2})
	Paid     = deed.NewType(payments, "payments.paid", 1, func(p payment) string { return p.Account })
	receipts = deed.NewTopic("receipts", &deed.TopicOptions{Partitions: 2})
	Booked   = deed.NewType(receipts, "receipts.booked", 1, func(p payment) string { return p.Account })
)

// fixture is a service with a database and a bus.
type fixture struct {
	t   *testing.T
	at  testdb.Database
	db  *sqldb.DB
	bus *deed.Bus
}

func setup(t *testing.T, k testdb.Kind) *fixture {
	t.Helper()
	return setupAt(t, k, k.New(t), "mem:")
}

// setupAt is setup in a database that there is, with the bus that a URL names.
func setupAt(t *testing.T, k testdb.Kind, at testdb.Database, url string) *fixture {
	t.Helper()
	f := &fixture{t: t, at: at}
	f.db = f.open()
	number := map[sqldb.Dialect]string{
		sqldb.DialectSQLite:   "integer primary key autoincrement",
		sqldb.DialectPostgres: "bigint generated always as identity primary key",
		sqldb.DialectMySQL:    "bigint auto_increment primary key",
	}[k.Dialect]
	for _, q := range []string{
		"create table balance (account varchar(100) primary key, amount integer not null)",
		"create table applied (n " + number + ", account varchar(100), amount integer)", // shows duplicates
	} {
		if _, err := f.db.SQL().Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	f.bus = newBus(t, url)
	return f
}

func (f *fixture) open() *sqldb.DB {
	f.t.Helper()
	return f.at.Open(f.t)
}

func newBus(t *testing.T, url string) *deed.Bus {
	t.Helper()
	return busOn(t, connect(t, url))
}

func connect(t *testing.T, url string) driver.Conn {
	t.Helper()
	var conn driver.Conn
	var err error
	if url == "mem:" {
		conn, err = deedmem.Open(t.Context(), url, nil)
	} else {
		conn, err = deedsql.Open(t.Context(), url, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func busOn(t *testing.T, conn driver.Conn) *deed.Bus {
	t.Helper()
	bus, err := deed.New(conn, &deed.Options{
		Source: "/payments", Logger: slog.New(slog.DiscardHandler), Lease: time.Second, Drain: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	return bus
}

// run runs runners on the bus until stop is called.
func (f *fixture) run(bus *deed.Bus, runners ...deed.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- bus.Run(ctx, runners...) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				f.t.Errorf("Run: %v", err)
			}
		})
	}
	f.t.Cleanup(stop)
	return stop
}

// book is a handler's effect, not idempotent on purpose.
func (f *fixture) book(ctx context.Context, tx *sql.Tx, p payment) error {
	upsert := "on conflict (account) do update set amount = balance.amount + excluded.amount"
	if f.db.Dialect() == sqldb.DialectMySQL {
		upsert = "on duplicate key update amount = amount + values(amount)"
	}
	query := f.db.Rebind("insert into balance (account, amount) values (?, ?) " + upsert)
	if _, err := tx.ExecContext(ctx, query, p.Account, p.Amount); err != nil {
		return err
	}
	query = f.db.Rebind("insert into applied (account, amount) values (?, ?)")
	_, err := tx.ExecContext(ctx, query, p.Account, p.Amount)
	return err
}

func (f *fixture) applied() []string {
	f.t.Helper()
	rows, err := f.db.SQL().Query("select concat(account, amount) from applied order by n")
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			f.t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func (f *fixture) count(query string) (n int) {
	f.t.Helper()
	if err := f.db.SQL().QueryRow(query).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) publish(ps ...payment) {
	f.t.Helper()
	for _, p := range ps {
		if err := f.bus.Publish(f.t.Context(), Paid.New(p)); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) eventuallyApplied(want ...string) {
	f.t.Helper()
	eventually(f.t, func() string {
		if got := f.applied(); !slices.Equal(got, want) {
			return fmt.Sprintf("applied %v, want %v", got, want)
		}
		return ""
	})
}

func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		said := check()
		if said == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(said)
		}
		<-tick.C
	}
}

// delivery makes what a handler receives, without a bus.
func delivery(id string, p payment) deed.Received[payment] {
	return deed.Received[payment]{
		Event:    deed.Event{ID: id, Source: "/payments", Type: "payments.paid", Version: 1, Key: p.Account},
		Data:     p,
		Delivery: deed.Delivery{Topic: "payments", Group: "books"},
	}
}
