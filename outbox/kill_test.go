package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

const killDir = "OUTBOX_TEST_KILL" // the directory in which TestKillHelper is to work

const (
	killKeys  = 5
	killSize  = 200 // events of each key in the end
	killTimes = 4
)

// service opens the database and the bus of the processes that are killed.
func service(dir, busFile string) (*sqldb.DB, *outbox.Outbox, *deed.Bus, error) {
	sqlDB, err := sqldb.OpenSQLite(filepath.Join(dir, "service.db"), nil)
	if err != nil {
		return nil, nil, nil, err
	}
	db := sqldb.SQLite(sqlDB)
	box := outbox.New(db, "/notes", &outbox.Options{Batch: 16})
	conn, err := deedsql.Open(context.Background(), "sqlite:"+filepath.Join(dir, busFile), nil)
	if err != nil {
		return nil, nil, nil, err
	}
	bus, err := deed.New(conn, &deed.Options{Logger: slog.New(slog.DiscardHandler)})
	return db, box, bus, err
}

// TestKillHelper is the process that TestKilledRelayNeitherLosesNorRepeats kills.
func TestKillHelper(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return // not asked for: this is no test of its own
	}
	db, box, bus, err := service(dir, os.Getenv("OUTBOX_TEST_BUS"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- bus.Run(ctx, box) }()
	for more := true; more; {
		err := db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			more = false
			for k := range killKeys {
				key := fmt.Sprint("k", k)
				var n int
				err := tx.QueryRowContext(ctx, "update orders set n = n + 1 where id = ? and n < ? returning n", key, killSize).
					Scan(&n)
				if err == sql.ErrNoRows {
					continue
				}
				if err != nil {
					return err
				}
				more = true
				if err := box.Publish(ctx, tx, Noted.New(note{key, n})); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	bus.Close()
}

// Whatever the moment at which the process dies, every committed event is on the
// bus once and in order in the end: with a bus of its own file, and with the
// service's database as the bus.
func TestKilledRelayNeitherLosesNorRepeats(t *testing.T) {
	for _, busFile := range []string{"bus.db", "service.db"} {
		t.Run(busFile, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, _, bus, err := service(dir, busFile)
			if err != nil {
				t.Fatal(err)
			}
			defer db.SQL().Close()
			defer bus.Close()
			if _, err := db.SQL().Exec("create table orders (id text primary key, n integer)"); err != nil {
				t.Fatal(err)
			}
			for k := range killKeys {
				if _, err := db.SQL().Exec("insert into orders values (?, 0)", fmt.Sprint("k", k)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range killTimes {
				killAfter(t, dir, busFile, func() bool { return sum(t, db) >= (i+1)*killKeys*killSize/(killTimes+2) })
			}
			killAfter(t, dir, busFile, nil)
			got := stored(t, bus)
			for k := range killKeys {
				if key := fmt.Sprint("k", k); !slices.Equal(got[key], upTo(killSize)) {
					t.Errorf("%s on the bus: %v, want 1 to %d once and in order", key, got[key], killSize)
				}
			}
		})
	}
}

func sum(t *testing.T, db *sqldb.DB) (n int) {
	t.Helper()
	if err := db.SQL().QueryRow("select sum(n) from orders").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// killAfter starts the helper and kills it once enough is true; nil lets it end.
func killAfter(t *testing.T, dir, busFile string, enough func() bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKillHelper$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, "OUTBOX_TEST_BUS="+busFile)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if enough == nil {
		said, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !enough() {
		if <-tick.C; time.Now().After(deadline) {
			t.Error("the helper does not get on")
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // reports the kill
}
