package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

type note struct {
	Key string
	N   int
}

var (
	notes = deed.NewTopic("notes", &deed.TopicOptions{Partitions: 4})
	Noted = deed.NewType(notes, "notes.noted", 1, func(n note) string { return n.Key })
)

// engine is deedmem behind a script: publish sees every call first.
type engine struct {
	driver.Conn
	durable bool

	mu      sync.Mutex
	publish func(next func([]driver.Batch) ([]driver.Receipt, error), bs []driver.Batch) ([]driver.Receipt, error)
	calls   int
}

func (e *engine) Unwrap() driver.Conn { return e.Conn }

func (e *engine) Features() driver.Features {
	f := e.Conn.Features()
	if e.durable {
		f.Durability = driver.Power
	}
	return f
}

func (e *engine) Publish(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
	e.mu.Lock()
	script := e.publish
	e.calls++
	e.mu.Unlock()
	next := func(bs []driver.Batch) ([]driver.Receipt, error) { return e.Conn.Publish(ctx, bs) }
	if script == nil {
		return next(bs)
	}
	return script(next, bs)
}

func (e *engine) script(
	f func(next func([]driver.Batch) ([]driver.Receipt, error), bs []driver.Batch) ([]driver.Receipt, error),
) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.publish = f
}

// refuseEach answers batch by batch; f returns an error for those that fail.
func refuseEach(f func(driver.Batch) error) func(
	next func([]driver.Batch) ([]driver.Receipt, error), bs []driver.Batch) ([]driver.Receipt, error) {
	return func(next func([]driver.Batch) ([]driver.Receipt, error), bs []driver.Batch) ([]driver.Receipt, error) {
		out := make([]driver.Receipt, len(bs))
		for i, b := range bs {
			if err := f(b); err != nil {
				out[i].Err = err
				continue
			}
			rs, err := next([]driver.Batch{b})
			if err != nil {
				return nil, err
			}
			out[i] = rs[0]
		}
		return out, nil
	}
}

type fixture struct {
	t   *testing.T
	at  testdb.Database
	db  *sqldb.DB
	box *outbox.Outbox
	bus *deed.Bus
	eng *engine
}

func setup(t *testing.T, k testdb.Kind, opts *outbox.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, at: k.New(t)}
	f.db, f.box = f.open(opts)
	f.bus, f.eng = newBus(t, false)
	if _, err := f.db.SQL().Exec("create table orders (id varchar(100) primary key, n integer)"); err != nil {
		t.Fatal(err)
	}
	return f
}

// open opens the same database as another process would.
func (f *fixture) open(opts *outbox.Options) (*sqldb.DB, *outbox.Outbox) {
	f.t.Helper()
	db := f.at.Open(f.t)
	return db, outbox.New(db, "/notes", opts)
}

// newBus returns a bus on an engine of its own; a durable one promises, as far as
// the outbox is concerned, to keep what it has stored.
func newBus(t *testing.T, durable bool) (*deed.Bus, *engine) {
	t.Helper()
	conn, err := deedmem.Open(t.Context(), "mem:", nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{Conn: conn, durable: durable}
	bus, err := deed.New(e, &deed.Options{Source: "/notes", Logger: slog.New(slog.DiscardHandler), Drain: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	return bus, e
}

// run runs a relay until stop is called.
func (f *fixture) run(box *outbox.Outbox, bus *deed.Bus) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Run(ctx, bus) }()
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

func (f *fixture) publish(ns ...note) {
	f.t.Helper()
	err := f.db.Tx(f.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return f.box.Publish(ctx, tx, drafts(ns)...)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func drafts(ns []note) []deed.Draft {
	var ds []deed.Draft
	for _, n := range ns {
		ds = append(ds, Noted.New(n))
	}
	return ds
}

// stored returns what is on the bus, each key's in order.
func stored(t *testing.T, bus *deed.Bus) map[string][]int {
	t.Helper()
	got := make(map[string][]int)
	for e, err := range bus.Read(t.Context(), "notes", nil) {
		if err != nil {
			if errors.Is(err, driver.ErrNotFound) {
				return got
			}
			t.Fatal(err)
		}
		n, err := Noted.Decode(e.Event)
		if err != nil {
			t.Fatal(err)
		}
		got[n.Key] = append(got[n.Key], n.N)
	}
	return got
}

// eventually waits until check returns "", else fails with what it said last.
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

func (f *fixture) eventuallyStored(want map[string][]int) {
	f.t.Helper()
	eventually(f.t, func() string {
		got := stored(f.t, f.bus)
		if len(got) == len(want) {
			same := true
			for k := range want {
				same = same && slices.Equal(got[k], want[k])
			}
			if same {
				return ""
			}
		}
		return fmt.Sprintf("on the bus: %v, want %v", got, want)
	})
}

func (f *fixture) pending() int {
	f.t.Helper()
	n, err := f.box.Pending(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) eventuallyPending(want int) {
	f.t.Helper()
	eventually(f.t, func() string {
		if n := f.pending(); n != want {
			return fmt.Sprintf("%d pending, want %d", n, want)
		}
		return ""
	})
}

func upTo(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func countUp(ctx context.Context, db *sqldb.DB, box *outbox.Outbox, key string) error {
	return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var n int
		upsert := "on conflict (id) do update set n = orders.n + 1"
		if db.Dialect() == sqldb.DialectMySQL {
			upsert = "on duplicate key update n = n + 1"
		}
		if _, err := tx.ExecContext(ctx, db.Rebind("insert into orders (id, n) values (?, 1) "+upsert), key); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, db.Rebind("select n from orders where id = ?"), key).Scan(&n); err != nil {
			return err
		}
		return box.Publish(ctx, tx, Noted.New(note{key, n}))
	})
}
