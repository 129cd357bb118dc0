package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

func testCommittedIsRelayedAndRolledBackIsNot(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.run(f.box, f.bus)
	boom := errors.New("boom")
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(f.box.Publish(ctx, tx, Noted.New(note{"ghost", 1})), boom)
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	f.publish(note{"a", 1}, note{"a", 2}, note{"b", 1})
	f.eventuallyStored(map[string][]int{"a": {1, 2}, "b": {1}})
	f.eventuallyPending(0)
}

func testEventArrivesAsPublished(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	d := Noted.New(note{"k", 7})
	d.ID, d.Subject, d.CorrelationID = "id-1", "subject", "conversation"
	d.Extensions = map[string]string{"tenant": "acme"}
	d.Time = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	raw := deed.NewDraft(notes, deed.Event{ID: "id-2", Type: "notes.raw", ContentType: "application/json",
		Key: "k", Data: []byte(`{ "spaces":  "kept" }`)})
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, d, raw) })
	if err != nil {
		t.Fatal(err)
	}
	f.run(f.box, f.bus)()
	var got []deed.Stored
	for e, err := range f.bus.Read(t.Context(), "notes", nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != 2 {
		t.Fatalf("%d events on the bus, want 2", len(got))
	}
	e := got[0].Event
	if e.ID != "id-1" || e.Source != "/notes" || e.Subject != "subject" || e.CorrelationID != "conversation" ||
		e.Extensions["tenant"] != "acme" || !e.Time.Equal(d.Time) || e.Key != "k" || e.Type != "notes.noted" {
		t.Errorf("arrived as %+v", e)
	}
	if s := string(got[1].Data); s != `{ "spaces":  "kept" }` {
		t.Errorf("data arrived as %q", s)
	}
}

// A transaction that knows nothing of deed, in a pool of its own, is found by
// polling.
func testForeignTransactionIsRelayedSoon(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.run(f.box, f.bus)
	f.publish(note{"warm", 1})
	f.eventuallyStored(map[string][]int{"warm": {1}})
	db, box := f.open(nil)
	// The relay looks every 20 ms. A busy machine delays some looks, so that this goes
	// on until one comes soon.
	var took []time.Duration
	deadline := time.Now().Add(time.Minute)
	soon := func() bool { return len(took) > 0 && slices.Min(took) <= 50*time.Millisecond }
	for i := 0; !soon() && time.Now().Before(deadline); i++ {
		tx, err := db.SQL().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Publish(t.Context(), tx, Noted.New(note{"warm", i + 2})); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		f.eventuallyStored(map[string][]int{"warm": upTo(i + 2)})
		took = append(took, time.Since(start))
	}
	if !soon() {
		t.Errorf("from commit to bus: %v, want one of at most 50ms", took)
	}
}

func testKeyOrderUnderConcurrentTransactionsAndTwoRelays(t *testing.T, k testdb.Kind) {
	f := setup(t, k, &outbox.Options{Batch: 7})
	db2, box2 := f.open(&outbox.Options{Batch: 5})
	f.run(f.box, f.bus)
	f.run(box2, f.bus)
	const keys, each = 6, 40
	want := make(map[string][]int)
	var wg sync.WaitGroup
	for k := range keys {
		key := fmt.Sprint("k", k)
		want[key] = upTo(each)
		db, box := f.db, f.box
		if k%2 == 1 {
			db, box = db2, box2
		}
		for range 2 { // two writers per key, ordered by the row that both change
			wg.Go(func() {
				for range each / 2 {
					if err := countUp(t.Context(), db, box, key); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	f.eventuallyStored(want)
}

func testRowsAreKeptAndThenRemoved(t *testing.T, k testdb.Kind) {
	f := setup(t, k, &outbox.Options{Keep: time.Millisecond})
	f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"b", 1})
	eventually(t, func() string {
		var n int
		if err := f.db.SQL().QueryRow("select count(*) from deed_outbox").Scan(&n); err != nil || n > 0 {
			return fmt.Sprintf("%d rows left, %v", n, err)
		}
		return ""
	})
	f.eventuallyStored(map[string][]int{"a": {1}, "b": {1}})
}

func testDelayedEventWaitsInTheOutbox(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.run(f.box, f.bus)
	due := time.Now().Add(300 * time.Millisecond)
	d := Noted.New(note{"later", 1})
	d.NotBefore = due
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return f.box.Publish(ctx, tx, d, Noted.New(note{"now", 1}))
	})
	if err != nil {
		t.Fatal(err)
	}
	f.eventuallyStored(map[string][]int{"now": {1}, "later": {1}})
	if early := time.Until(due); early > time.Millisecond {
		t.Errorf("on the bus %v before it was due", early)
	}
}

func testLastPass(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.publish(note{"a", 1}, note{"a", 2})
	if err := f.box.Run(ctx, f.bus); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, f.bus); !slices.Equal(got["a"], []int{1, 2}) {
		t.Errorf("after the last pass: %v", got)
	}
}

func testOneConnectionIsEnough(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.db.SQL().SetMaxOpenConns(1)
	f.run(f.box, f.bus)
	f.publish(note{"a", 1})
	f.publish(note{"a", 2})
	f.eventuallyStored(map[string][]int{"a": {1, 2}})
	f.eventuallyPending(0)
}

func testTopicSettingsTravel(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.publish(note{"a", 1})
	_, box := f.open(nil) // a relay whose program never declared the topic
	f.run(box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {1}})
	topics, _ := driver.As[driver.Topics](f.bus.Conn())
	info, err := topics.Topic(t.Context(), "notes")
	if err != nil || info.Partitions != 4 {
		t.Errorf("topic has %d partitions, %v; want the declared 4", info.Partitions, err)
	}
}

func testPublishSaysWhatIsWrong(t *testing.T, k testdb.Kind) {
	f := setup(t, k, &outbox.Options{MaxEventBytes: 100})
	elsewhere, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "other.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		db    *sqldb.DB
		draft deed.Draft
		want  string
	}{
		"other database": {sqldb.SQLite(elsewhere), Noted.New(note{"a", 1}), "is tx a transaction of the database"},
		"too large":      {f.db, Noted.New(note{strings.Repeat("x", 200), 1}), "raise Options.MaxEventBytes"},
		"no topic":       {f.db, deed.Draft{}, "no topic"},
		"no type":        {f.db, deed.NewDraft(notes, deed.Event{}), "attribute type is empty"},
	} {
		err := c.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, c.draft) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
