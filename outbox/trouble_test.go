package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/testdb"
	"github.com/deedgo/deed/outbox"
)

// The relay dies after the engine stored a batch and before it is marked: the next
// one sends the same stamps and nothing is stored twice.
func testCrashBetweenSendAndMark(t *testing.T, k testdb.Kind) {
	f := setup(t, k, &outbox.Options{Batch: 3})
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

func testFailingPartitionHoldsNothingElseUp(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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

func testRefusedEventIsSetAside(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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

func testDiscardRefused(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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
func testLostEventsAreSentAgain(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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

func testLostEventsAreNoticedWithoutNewOnes(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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
func testGapThatCannotBeFilled(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.eng.script(refuseEach(func(b driver.Batch) error { return fmt.Errorf("%w: down", driver.ErrNotStored) }))
	stop := f.run(f.box, f.bus)
	f.publish(note{"a", 1}, note{"a", 2}, note{"a", 3})
	eventually(t, func() string { // all stamped
		var n int
		err := f.db.SQL().QueryRow("select count(*) from deed_outbox where state = 'stamped'").Scan(&n)
		if err != nil || n != 3 {
			return fmt.Sprintf("%d stamped, %v", n, err)
		}
		return ""
	})
	stop() // so that the relay has read nothing that is gone
	cancelled, err := f.db.SQL().Exec("delete from deed_outbox where seq = 1")
	if n, _ := cancelled.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("deleted %d rows, %v", n, err)
	}
	f.eng.script(nil)
	f.run(f.box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {2, 3}})
}

// A database restored from a backup stamps anew: its numbers must not be taken for
// repeats of what the original sent after the backup.
func TestRestoredBackupIsNotSwallowed(t *testing.T) {
	f := setup(t, testdb.SQLite, nil)
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

	f.at = testdb.File(backup)
	f.db, f.box = f.open(nil)
	f.publish(note{"a", 30}, note{"a", 40})
	f.run(f.box, f.bus)
	f.eventuallyStored(map[string][]int{"a": {1, 2, 3, 4, 30, 40}})
}

func testTopicThatCannotBeCreatedHoldsNothingElseUp(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
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

func testClosedBusEndsRun(t *testing.T, k testdb.Kind) {
	f := setup(t, k, nil)
	f.eng.script(refuseEach(func(driver.Batch) error { return driver.ErrClosed }))
	f.publish(note{"a", 1})
	if err := f.box.Run(t.Context(), f.bus); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Run: %v, want ErrClosed", err)
	}
}
