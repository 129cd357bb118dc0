package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deedgo/deed/sqldb"
	"modernc.org/sqlite"
)

var steps = []sqldb.Migration{
	{Name: "create", SQL: "create table thing (id integer primary key); insert into thing values (1)"},
	{Name: "widen", SQL: "alter table thing add column note text;"},
}

func TestMigrateStepByStep(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	for _, ms := range [][]sqldb.Migration{steps[:1], steps, steps} {
		if err := db.Migrate(t.Context(), "things", ms); err != nil {
			t.Fatal(err)
		}
		if v := queryInt(t, db.SQL(), "select version from deed_schema where component = 'things'"); v != len(ms) {
			t.Errorf("version %d, want %d", v, len(ms))
		}
	}
	if n := queryInt(t, db.SQL(), "select count(note is null) from thing"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	err := db.Migrate(t.Context(), "things", steps[:1])
	if err == nil || !strings.Contains(err.Error(), "run a newer program") {
		t.Errorf("an older program: %v", err)
	}
}

func TestMigrateIsAllOrNothing(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	broken := append(steps[:2:2], sqldb.Migration{Name: "oops", SQL: "create tabel x"})
	err := db.Migrate(t.Context(), "things", broken)
	if err == nil || !strings.Contains(err.Error(), "step 3 (oops)") {
		t.Errorf("broken step: %v", err)
	}
	if n := queryInt(t, db.SQL(), "select count(*) from sqlite_schema where name = 'thing'"); n != 0 {
		t.Error("the steps before the broken one were kept")
	}
	if err := db.Migrate(t.Context(), "things", steps); err != nil {
		t.Error(err)
	}
}

func TestScriptDoesWhatMigrateDoes(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	mustExec(t, db.SQL(), sqldb.Script("things", steps))
	mustExec(t, db.SQL(), sqldb.Script("others", nil))
	if err := db.Migrate(t.Context(), "things", steps); err != nil {
		t.Error(err)
	}
	if n := queryInt(t, db.SQL(), "select count(*) from thing"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

const migratePath = "SQLDB_TEST_MIGRATE"

// TestMigrateHelper is the other process of TestMigrateFromSeveralProcesses.
func TestMigrateHelper(t *testing.T) {
	path := os.Getenv(migratePath)
	if path == "" {
		return // not asked for: this is no test of its own
	}
	if err := sqldb.SQLite(open(t, path, nil)).Migrate(context.Background(), "things", steps); err != nil {
		t.Error(err)
	}
}

func TestMigrateFromSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrateHelper$")
			cmd.Env = append(os.Environ(), migratePath+"="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		wg.Go(func() {
			db, err := sqldb.OpenSQLite(path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := sqldb.SQLite(db).Migrate(t.Context(), "things", steps); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := queryInt(t, open(t, path, nil), "select count(*) from thing"); n != 1 {
		t.Errorf("%d rows, want 1: a step ran twice", n)
	}
}

// otherLibrary stands for a second SQLite library: a driver of another type.
type otherLibrary string

func (o otherLibrary) Open(name string) (driver.Conn, error)        { return new(sqlite.Driver).Open(name) }
func (o otherLibrary) Connect(context.Context) (driver.Conn, error) { return o.Open(string(o)) }
func (o otherLibrary) Driver() driver.Driver                        { return o }

func TestAnotherLibraryOnTheSameFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "bus.db"), filepath.Join(dir, "link.db")
	ours := open(t, path, nil)
	if err := os.Link(path, link); err != nil { // the same file by another name
		t.Fatal(err)
	}
	for name, refused := range map[string]bool{path: true, link: true, filepath.Join(dir, "own.db"): false} {
		db := sql.OpenDB(otherLibrary(name))
		defer db.Close()
		err := sqldb.SQLite(db).Check(t.Context())
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "two SQLite libraries") {
			t.Errorf("%s: %v, want refused: %t", name, err, refused)
		}
	}
	if err := sqldb.SQLite(ours).Check(t.Context()); err != nil {
		t.Errorf("our own: %v", err)
	}
}

func TestTxEndsWithItsContextWhileAnotherWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	one, two := sqldb.SQLite(open(t, path, nil)), sqldb.SQLite(open(t, path, nil))
	three := sqldb.SQLite(open(t, path, nil))
	nothing := func(context.Context, *sql.Tx) error { return nil }
	err := one.Tx(t.Context(), func(context.Context, *sql.Tx) error {
		ctx, cancel := context.WithCancel(t.Context())
		entered := make(chan error)
		go func() { entered <- two.Tx(ctx, nothing) }()
		cancel()
		return <-entered // returns although this transaction goes on
	})
	if err != context.Canceled {
		t.Errorf("the waiting Tx: %v, want context.Canceled", err)
	}
	for range 2 { // and the abandoned wait holds nobody up
		for _, db := range []*sqldb.DB{three, one, two} {
			if err := db.Tx(t.Context(), nothing); err != nil {
				t.Error(err)
			}
		}
	}
}
