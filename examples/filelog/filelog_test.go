package filelog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedsql"
)

func open(t *testing.T, dir string) *Log {
	t.Helper()
	log, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// [conformance]

func TestConformance(t *testing.T) {
	log := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	drivertest.Test(t, drivertest.Harness{
		Open:   func(context.Context) (driver.Conn, error) { return log.Connect(), nil },
		Freeze: func(c driver.Conn) { c.(*Conn).keeper.Close() }, // it renews nothing from then on
	})
}

// [conformance]

// TestConformanceWithState checks what a second engine adds: dead letters and records.
func TestConformanceWithState(t *testing.T) {
	log, state := open(t, t.TempDir()), "sqlite:"+filepath.Join(t.TempDir(), "state.db")
	t.Cleanup(func() { log.Close() })
	drivertest.Test(t, drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
		side, err := deedsql.Open(ctx, state, nil)
		if err != nil {
			return nil, err
		}
		return driverkit.WithState(log.Connect(), side)
	}})
}

// publishOne publishes an event with an id to a topic of one partition.
func publishOne(t *testing.T, c *Conn, id string) error {
	t.Helper()
	if _, err := c.CreateTopic(t.Context(), "notes", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	m := driver.Message{ID: id, Source: "/test", Type: "noted", Version: 1}
	receipts, err := c.Publish(t.Context(), []driver.Batch{{Topic: "notes", Messages: []driver.Message{m}}})
	if err != nil {
		t.Fatal(err)
	}
	return receipts[0].Err
}

// read returns the ids of what is stored.
func read(t *testing.T, l *Log) (ids []string) {
	t.Helper()
	_, err := l.topics["notes"].parts[0].scan(place{}, func(d driver.Delivery) bool {
		ids = append(ids, d.ID)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestTornLine ends the file in the middle of a batch, as a power cut does.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	for _, id := range []string{"1", "2", "3"} {
		if err := publishOne(t, log.Connect(), id); err != nil {
			t.Fatal(err)
		}
	}
	p := log.topics["notes"].parts[0]
	name, whole := p.file.Name(), p.offset
	log.Close()
	if err := os.Truncate(name, whole-10); err != nil {
		t.Fatal(err)
	}
	log = open(t, dir)
	if err := publishOne(t, log.Connect(), "4"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, log); !slices.Equal(got, []string{"1", "2", "4"}) {
		t.Errorf("the file has %q, want what was whole and what came after", got)
	}
	log.Close()
	text, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, slices.Concat(text[:20], []byte("x"), text[21:]), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir); !errors.Is(err, driver.ErrLost) {
		t.Errorf("a line in the middle is damaged: open is %v, want ErrLost", err)
	}
}

// TestFailedWriteIsNotStored closes the file under the partition.
func TestFailedWriteIsNotStored(t *testing.T) {
	log := open(t, t.TempDir())
	defer log.Close()
	c := log.Connect()
	if err := publishOne(t, c, "1"); err != nil {
		t.Fatal(err)
	}
	log.topics["notes"].parts[0].file.Close()
	for range 2 { // it stays so
		if err := publishOne(t, c, "2"); !driver.NothingStored(err) {
			t.Errorf("publish is %v, want it to say that nothing was stored", err)
		}
	}
}

// TestOneProcess opens a directory that is open.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	if _, err := Open(t.Context(), dir); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("a second time it opens with %v, want ErrRefused", err)
	}
	log.Close()
	open(t, dir).Close()
}
