package outbox

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/sqldb"
)

// TestReturnedRowsGoFirst lets one relay read the second event of a key while the first is
// stamped, and another one make that new again before the second is stamped: it may not go
// before the first.
func TestReturnedRowsGoFirst(t *testing.T) {
	file, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "service.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	db := sqldb.SQLite(file)
	conn, err := deedmem.Open(t.Context(), "mem:", nil)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/notes"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	box := New(db, "/notes", nil)
	topic := deed.NewTopic("notes", &deed.TopicOptions{Partitions: 1})
	publish := func() {
		t.Helper()
		err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			return box.Publish(ctx, tx, deed.NewDraft(topic, deed.Event{Type: "t", Key: "a"}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	one, other := box.relay(bus), box.relay(bus)
	publish()
	if _, err := other.stamp(t.Context(), mainLane); err != nil {
		t.Fatal(err)
	}
	publish()
	returned, err := one.returned(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := one.newRows(t.Context(), mainLane)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d new rows, %v; want the second event's", len(rows), err)
	}
	if err := other.unstamp(t.Context(), rows[0].at); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := one.writeStamps(ctx, tx, rows, returned, time.Now().UnixMilli())
		return err
	})
	if err != errReturned { //nolint:errorlint // it is not wrapped
		t.Errorf("the second event was stamped before the first: %v", err)
	}
	if more, err := one.stamp(t.Context(), mainLane); err != nil || more {
		t.Errorf("the next pass: %v, %v", more, err)
	}
	var order string
	err = file.QueryRow("select group_concat(id) from (select id from deed_outbox where state = 'stamped' order by turn)").
		Scan(&order)
	if err != nil || order != "1,2" {
		t.Errorf("stamped in the order %s, %v", order, err)
	}
}
