package outbox_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// TestPgx publishes in a transaction of pgx's own, beside an outbox whose relay uses
// database/sql.
func TestPgx(t *testing.T) {
	server := pgtest.Start(t)
	url := server.URL(server.Database(t))
	f := &fixture{t: t, at: testdb.Postgres(url)}
	f.db, f.box = f.open(nil)
	f.bus, f.eng = newBus(t, false)
	f.run(f.box, f.bus)

	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	publish := func(n note) error {
		return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			err := f.box.Publish(t.Context(), sqldb.Pgx(tx), Noted.New(n))
			if n.N < 0 {
				err = errors.Join(err, errors.New("negative"))
			}
			return err
		})
	}
	if err := publish(note{"a", -1}); err == nil {
		t.Fatal("the transaction that fails has committed")
	}
	for n := range 3 {
		if err := publish(note{"a", n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3}})
}

// TestPgxIntoTheBus does so where the bus lives in the same database.
func TestPgxIntoTheBus(t *testing.T) {
	server := pgtest.Start(t)
	url := server.URL(server.Database(t))
	f := setupIntake(t, testdb.Postgres(url), url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for n := range 3 {
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			return f.box.Publish(t.Context(), sqldb.Pgx(tx), Noted.New(note{"a", n}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.direct(note{"a", 3})
	if got := f.stored(); !slices.Equal(got["a"], []int{0, 1, 2, 3}) {
		t.Errorf("stored %v", got)
	}
}

func TestADatabaseIsNoTransaction(t *testing.T) {
	db := testdb.SQLite.New(t).Open(t)
	err := outbox.New(db, "/notes", nil).Publish(t.Context(), db.SQL(), Noted.New(note{"a", 1}))
	if err == nil || !strings.Contains(err.Error(), "no transaction") {
		t.Errorf("Publish in a *sql.DB: %v", err)
	}
}
