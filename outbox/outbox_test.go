package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
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
	t    *testing.T
	path string
	db   *sqldb.DB
	box  *outbox.Outbox
	bus  *deed.Bus
	eng  *engine
}

func setup(t *testing.T, opts *outbox.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "service.db")}
	f.db, f.box = f.open(opts)
	f.bus, f.eng = newBus(t, false)
	if _, err := f.db.SQL().Exec("create table orders (id text primary key, n integer)"); err != nil {
		t.Fatal(err)
	}
	return f
}

// open opens the same database file as another process would.
func (f *fixture) open(opts *outbox.Options) (*sqldb.DB, *outbox.Outbox) {
	f.t.Helper()
	sqlDB, err := sqldb.OpenSQLite(f.path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { sqlDB.Close() })
	db := sqldb.SQLite(sqlDB)
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
	deadline := time.Now().Add(10 * time.Second)
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

func TestCommittedIsRelayedAndRolledBackIsNot(t *testing.T) {
	f := setup(t, nil)
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

func TestEventArrivesAsPublished(t *testing.T) {
	f := setup(t, nil)
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
func TestForeignTransactionIsRelayedSoon(t *testing.T) {
	f := setup(t, nil)
	f.run(f.box, f.bus)
	f.publish(note{"warm", 1})
	f.eventuallyStored(map[string][]int{"warm": {1}})
	db, box := f.open(nil)
	took := make([]time.Duration, 0, 9)
	for i := range cap(took) {
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
	slices.Sort(took)
	if d := took[len(took)/3]; d > 50*time.Millisecond { // a busy machine delays some
		t.Errorf("%v from commit to bus, want at most 50ms (all: %v)", d, took)
	}
}

func TestKeyOrderUnderConcurrentTransactionsAndTwoRelays(t *testing.T) {
	f := setup(t, &outbox.Options{Batch: 7})
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

func countUp(ctx context.Context, db *sqldb.DB, box *outbox.Outbox, key string) error {
	return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var n int
		err := tx.QueryRowContext(ctx, "insert into orders (id, n) values (?, 1) "+
			"on conflict (id) do update set n = n + 1 returning n", key).Scan(&n)
		if err != nil {
			return err
		}
		return box.Publish(ctx, tx, Noted.New(note{key, n}))
	})
}

// The relay dies after the engine stored a batch and before it is marked: the next
// one sends the same stamps and nothing is stored twice.
func TestCrashBetweenSendAndMark(t *testing.T) {
	f := setup(t, &outbox.Options{Batch: 3})
	ctx, crash := context.WithCancel(t.Context())
	f.eng.script(func(next func([]driver.Batch) ([]driver.Receipt, error), bs []driver.Batch) ([]driver.Receipt, error) {
		rs, err := next(bs)
		crash() // and the answer is lost
		return rs, errors.Join(err, errors.New("connection reset"))
	})
	var ns []note
	for i := range 10 {
		ns = append(ns, note{"a", i + 1})
	}
	f.publish(ns...)
	f.box.Run(ctx, f.bus) // its last pass meets the same engine
	if n := f.pending(); n != 10 {
		t.Fatalf("%d pending after the crash, want all 10", n)
	}
	f.eng.script(nil)
	_, box2 := f.open(&outbox.Options{Batch: 4}) // other batch boundaries
	f.run(box2, f.bus)
	f.eventuallyStored(map[string][]int{"a": upTo(10)})
}

func TestFailingPartitionHoldsNothingElseUp(t *testing.T) {
	f := setup(t, nil)
	bad := driver.PartitionOf("a", 4)
	good := "b"
	for driver.PartitionOf(good, 4) == bad {
		good += "b"
	}
	f.eng.script(refuseEach(func(b driver.Batch) error {
		if b.Partition == bad {
			return fmt.Errorf("%w: node down", driver.ErrNotStored)
		}
		return nil
	}))
	f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{good, 1})
	f.eventuallyStored(map[string][]int{good: {1}})
	f.publish(note{"a", 2}, note{good, 2})
	f.eventuallyStored(map[string][]int{good: {1, 2}})
	f.eventuallyPending(2) // the bad partition's
	f.eng.script(nil)
	f.eventuallyStored(map[string][]int{"a": {1, 2}, good: {1, 2}})
}

func TestRefusedEventIsSetAside(t *testing.T) {
	f := setup(t, nil)
	f.eng.script(refuseEach(func(b driver.Batch) error {
		for _, m := range b.Messages {
			if strings.Contains(string(m.Data), `"N":3`) {
				return fmt.Errorf("%w: too large", driver.ErrRefused)
			}
		}
		return nil
	}))
	f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2}, note{"a", 3}, note{"a", 4}, note{"a", 5})
	f.eventuallyStored(map[string][]int{"a": {1, 2, 4, 5}})
	refused, err := f.box.Refused(t.Context())
	if err != nil || len(refused) != 1 || !strings.Contains(refused[0].Error, "too large") ||
		refused[0].Event.Key != "a" || refused[0].Topic != "notes" || string(refused[0].Event.Data) != `{"Key":"a","N":3}` {
		t.Fatalf("Refused: %+v, %v", refused, err)
	}
	f.eng.script(nil)
	if n, err := f.box.Retry(t.Context(), refused[0].ID); n != 1 || err != nil {
		t.Fatalf("Retry: %d, %v", n, err)
	}
	f.eventuallyStored(map[string][]int{"a": {1, 2, 4, 5, 3}})
}

func TestDiscardRefused(t *testing.T) {
	f := setup(t, nil)
	f.eng.script(refuseEach(func(driver.Batch) error { return driver.ErrRefused }))
	f.run(f.box, f.bus)
	f.publish(note{"a", 1})
	eventually(t, func() string {
		if r, err := f.box.Refused(t.Context()); len(r) != 1 || err != nil {
			return fmt.Sprintf("Refused: %v, %v", r, err)
		}
		return ""
	})
	if n, err := f.box.Discard(t.Context()); n != 1 || err != nil {
		t.Errorf("Discard: %d, %v", n, err)
	}
	if r, _ := f.box.Refused(t.Context()); len(r) != 0 {
		t.Errorf("after Discard: %v", r)
	}
}

// The engine forgets what it acknowledged, as after a failover: the relay notices a
// gap and sends again what it keeps.
func TestLostEventsAreSentAgain(t *testing.T) {
	f := setup(t, nil)
	f.bus, f.eng = newBus(t, true)
	stop := f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2}, note{"a", 3})
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3}})
	stop()

	f.bus, f.eng = newBus(t, true) // an engine that knows nothing
	f.publish(note{"a", 4})
	f.run(f.box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3, 4}})
}

func TestLostEventsAreNoticedWithoutNewOnes(t *testing.T) {
	f := setup(t, nil)
	f.bus, f.eng = newBus(t, true)
	stop := f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2}, note{"b", 1})
	f.eventuallyStored(map[string][]int{"a": {1, 2}, "b": {1}})
	stop()
	f.run(f.box, f.bus)() // nothing is lost: nothing is stored twice
	f.eventuallyStored(map[string][]int{"a": {1, 2}, "b": {1}})
	f.bus, f.eng = newBus(t, true)
	f.run(f.box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {1, 2}, "b": {1}})
}

// What the engine lost and the outbox has no longer is gone; what comes after it is
// not held up.
func TestGapThatCannotBeFilled(t *testing.T) {
	f := setup(t, nil)
	f.eng.script(refuseEach(func(b driver.Batch) error { return fmt.Errorf("%w: down", driver.ErrNotStored) }))
	stop := f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2}, note{"a", 3})
	eventually(t, func() string { // all stamped
		var n int
		if err := f.db.SQL().QueryRow("select count(*) from deed_outbox where state = 'stamped'").Scan(&n); err != nil || n != 3 {
			return fmt.Sprintf("%d stamped, %v", n, err)
		}
		return ""
	})
	cancelled, err := f.db.SQL().Exec("delete from deed_outbox where seq = 1")
	if n, _ := cancelled.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("deleted %d rows, %v", n, err)
	}
	f.eng.script(nil)
	f.eventuallyStored(map[string][]int{"a": {2, 3}})
	stop()
}

func TestRowsAreKeptAndThenRemoved(t *testing.T) {
	f := setup(t, &outbox.Options{Keep: time.Millisecond})
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

func TestDelayedEventWaitsInTheOutbox(t *testing.T) {
	f := setup(t, nil)
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
	f.eventuallyStored(map[string][]int{"now": {1}})
	f.eventuallyStored(map[string][]int{"now": {1}, "later": {1}})
	if early := time.Until(due); early > time.Millisecond {
		t.Errorf("on the bus %v before it was due", early)
	}
}

func TestLastPass(t *testing.T) {
	f := setup(t, nil)
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

// A database restored from a backup stamps anew: its numbers must not be taken for
// repeats of what the original sent after the backup.
func TestRestoredBackupIsNotSwallowed(t *testing.T) {
	f := setup(t, nil)
	stop := f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2})
	f.eventuallyStored(map[string][]int{"a": {1, 2}})
	backup := filepath.Join(t.TempDir(), "backup.db")
	if _, err := f.db.SQL().Exec("vacuum into ?", backup); err != nil {
		t.Fatal(err)
	}
	f.publish(note{"a", 3}, note{"a", 4})
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3, 4}})
	stop()

	f.path = backup
	f.db, f.box = f.open(nil)
	f.publish(note{"a", 30}, note{"a", 40})
	f.run(f.box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3, 4, 30, 40}})
}

func TestOneConnectionIsEnough(t *testing.T) {
	f := setup(t, nil)
	f.db.SQL().SetMaxOpenConns(1)
	f.run(f.box, f.bus)
	f.publish(note{"a", 1})
	f.publish(note{"a", 2})
	f.eventuallyStored(map[string][]int{"a": {1, 2}})
	f.eventuallyPending(0)
}

func TestTopicSettingsTravel(t *testing.T) {
	f := setup(t, nil)
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

func TestTopicThatCannotBeCreatedHoldsNothingElseUp(t *testing.T) {
	f := setup(t, nil)
	other := deed.NewTopic("notes", &deed.TopicOptions{Partitions: 8})
	f.run(f.box, f.bus)
	f.publish(note{"a", 1})
	f.eventuallyStored(map[string][]int{"a": {1}})
	wrong := deed.NewDraft(deed.NewTopic("wrong", &deed.TopicOptions{Partitions: 1 << 20}), deed.Event{Type: "x"})
	differs := deed.NewDraft(other, deed.Event{Type: "x"})
	err := f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, wrong) })
	if err != nil {
		t.Fatal(err)
	}
	f.publish(note{"a", 2})
	f.eventuallyStored(map[string][]int{"a": {1, 2}})
	err = f.db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return f.box.Publish(ctx, tx, differs) })
	if err != nil {
		t.Fatal(err)
	}
	f.eventuallyPending(2) // those that cannot go
}

func TestPublishSaysWhatIsWrong(t *testing.T) {
	f := setup(t, &outbox.Options{MaxEventBytes: 100})
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

func TestClosedBusEndsRun(t *testing.T) {
	f := setup(t, nil)
	f.eng.script(refuseEach(func(driver.Batch) error { return driver.ErrClosed }))
	f.publish(note{"a", 1})
	if err := f.box.Run(t.Context(), f.bus); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Run: %v, want ErrClosed", err)
	}
}
