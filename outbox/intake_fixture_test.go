package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

type intakeFixture struct {
	t   *testing.T
	at  testdb.Database
	db  *sqldb.DB
	bus *deed.Bus
	box *outbox.Outbox
}

func setupIntake(t *testing.T, at testdb.Database, url string) *intakeFixture {
	t.Helper()
	conn, err := deedsql.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/direct", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	f := &intakeFixture{t: t, at: at, db: at.Open(t), bus: bus}
	f.box = outbox.New(f.db, "/notes", &outbox.Options{Bus: bus})
	return f
}

func joined(t *testing.T, k testdb.Kind) *intakeFixture {
	at := k.New(t)
	f := setupIntake(t, at, at.URL)
	if _, err := f.bus.Partition(t.Context(), notes, deed.Event{}); err != nil { // makes the topic
		t.Fatal(err)
	}
	return f
}

// transact publishes notes in a transaction of their own.
func (f *intakeFixture) transact(ns ...note) {
	f.t.Helper()
	err := f.db.Tx(f.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for _, n := range ns {
			if err := f.box.Publish(ctx, tx, Noted.New(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *intakeFixture) direct(n note) {
	f.t.Helper()
	if err := f.bus.Publish(f.t.Context(), Noted.New(n)); err != nil {
		f.t.Fatal(err)
	}
}

// stored returns what the bus has of each key, in order.
func (f *intakeFixture) stored() map[string][]int {
	f.t.Helper()
	all := make(map[string][]int)
	for e, err := range f.bus.Read(f.t.Context(), "notes", nil) {
		if errors.Is(err, driver.ErrNotFound) {
			return nil // the topic is not there yet
		}
		if err != nil {
			f.t.Fatal(err)
		}
		n, err := Noted.Decode(e.Event)
		if err != nil {
			f.t.Fatal(err)
		}
		all[n.Key] = append(all[n.Key], n.N)
	}
	return all
}

func (f *intakeFixture) pending() int {
	f.t.Helper()
	n, err := f.box.Pending(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *intakeFixture) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.bus.Run(ctx, f.box) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run: %v", err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

func (f *intakeFixture) count(query string) (n int) {
	f.t.Helper()
	if err := f.db.SQL().QueryRow(query).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}
