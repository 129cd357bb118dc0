package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deedgo/deed/sqldb"
)

func open(t *testing.T, path string, opts *sqldb.SQLiteOptions) *sql.DB {
	t.Helper()
	db, err := sqldb.OpenSQLite(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func queryInt(t *testing.T, db *sql.DB, query string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestEveryConnectionIsSetUpAlike(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a.db"), nil)
	for range 3 {
		c, err := db.Conn(t.Context()) // held, so that the next one is another
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
		} {
			var got string
			if err := c.QueryRowContext(t.Context(), "pragma "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s = %q, %v; want %q", pragma, got, err, want)
			}
		}
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "what?.db", "no#1.db", "100%.db", "%41.db", "ü&=+;'.db", "file:x.db"} {
		db := open(t, filepath.Join(dir, name), nil)
		mustExec(t, db, "create table t (x)")
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file, err := sqldb.SQLite(db).File(t.Context())
		if err != nil || filepath.Base(file) != name {
			t.Errorf("File() = %q, %v; want %q", file, err, name)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		opts *sqldb.SQLiteOptions
		want string
	}{
		"directory":      {dir, nil, "directory"},
		"missing parent": {filepath.Join(dir, "no", "a.db"), nil, "does not exist"},
		"not a database": {text, nil, "no SQLite database"},
		"no create":      {filepath.Join(dir, "b.db"), &sqldb.SQLiteOptions{NoCreate: true}, "not exist"},
		"read only":      {filepath.Join(dir, "b.db"), &sqldb.SQLiteOptions{ReadOnly: true}, "not exist"},
		"memory":         {":memory:", nil, "no file"},
	} {
		if _, err := sqldb.OpenSQLite(c.path, c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "b.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused open left a file: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	rw := open(t, path, nil)
	mustExec(t, rw, "create table t (x)")
	ro := open(t, path, &sqldb.SQLiteOptions{ReadOnly: true})
	if n := queryInt(t, ro, "select count(*) from t"); n != 0 {
		t.Errorf("%d rows", n)
	}
	_, err := ro.Exec("insert into t values (1)")
	if !sqldb.IsReadOnly(err) {
		t.Errorf("insert: %v, want a read-only error", err)
	}
}

// Eight goroutines that read and then write are what a deferred transaction fails
// at, with either pool: ours, and one that a user opened without any care.
func TestTxSurvivesABusyDatabase(t *testing.T) {
	for name, openDB := range map[string]func(path string) *sql.DB{
		"OpenSQLite": func(path string) *sql.DB { return open(t, path, nil) },
		"plain": func(path string) *sql.DB {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return db
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			one, two := sqldb.SQLite(openDB(path)), sqldb.SQLite(openDB(path))
			mustExec(t, one.SQL(), "create table t (n integer)")
			mustExec(t, one.SQL(), "insert into t values (0)")
			const workers, each = 8, 25
			var wg sync.WaitGroup
			for i := range workers {
				db := one
				if i%2 == 1 {
					db = two
				}
				wg.Go(func() {
					for range each {
						if err := increment(t.Context(), db); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if n := queryInt(t, one.SQL(), "select n from t"); n != workers*each {
				t.Errorf("n = %d, want %d", n, workers*each)
			}
		})
	}
}

func increment(ctx context.Context, db *sqldb.DB) error {
	return db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "select n from t").Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "update t set n = ?", n+1)
		return err
	})
}

func TestTxRollsBack(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	mustExec(t, db.SQL(), "create table t (x)")
	commits := 0
	db.OnCommit(func() { commits++ })
	insert := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "insert into t values (1)")
		return err
	}
	boom := errors.New("boom")
	err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(insert(ctx, tx), boom)
	})
	if !errors.Is(err, boom) {
		t.Errorf("Tx: %v, want boom", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "bang" {
				t.Errorf("recovered %v, want bang", r)
			}
		}()
		db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { insert(ctx, tx); panic("bang") })
	}()
	lost := errors.New("claim lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	err = db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := insert(ctx, tx)
		cancel(lost)
		return err
	})
	if !errors.Is(err, lost) {
		t.Errorf("Tx with a cancelled context: %v, want its cause", err)
	}
	if n := queryInt(t, db.SQL(), "select count(*) from t"); n != 0 || commits != 0 {
		t.Errorf("%d rows and %d commit hooks, want none", n, commits)
	}
	if err := db.Tx(t.Context(), insert); err != nil || commits != 1 {
		t.Errorf("Tx after all that: %v, %d hooks; want nil and 1", err, commits)
	}
}

func TestTxInsideTxIsRefused(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return db.Tx(ctx, func(context.Context, *sql.Tx) error { return nil })
	})
	if err == nil || !strings.Contains(err.Error(), "use the tx at hand") {
		t.Errorf("nested Tx: %v", err)
	}
}

func TestOnCommitRemove(t *testing.T) {
	db := sqldb.SQLite(open(t, filepath.Join(t.TempDir(), "a.db"), nil))
	var a, b int
	removeA := db.OnCommit(func() { a++ })
	db.OnCommit(func() { b++ })
	nothing := func(context.Context, *sql.Tx) error { return nil }
	for range 2 {
		if err := db.Tx(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		removeA()
	}
	if a != 1 || b != 2 {
		t.Errorf("hooks ran %d and %d times, want 1 and 2", a, b)
	}
}

func TestIsUnique(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a.db"), nil)
	mustExec(t, db, "create table t (x primary key, y unique)")
	mustExec(t, db, "insert into t values (1, 1)")
	for _, q := range []string{"insert into t values (1, 2)", "insert into t values (2, 1)"} {
		if _, err := db.Exec(q); !sqldb.IsUnique(err) {
			t.Errorf("%s: %v, want IsUnique", q, err)
		}
	}
	if _, err := db.Exec("insert into nowhere values (1)"); !sqldb.IsNoTable(err) || sqldb.IsUnique(err) {
		t.Errorf("no table: %v", err)
	}
}

// A DB that is closed holds no file, and can be used again.
func TestCloseGivesBackTheLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := sqldb.SQLite(open(t, path, nil))
	for range 2 {
		if err := db.Tx(t.Context(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if held := openFiles(t, path+".lock"); held > 0 {
			t.Errorf("%d files are open after Close", held)
		}
	}
}

// openFiles counts how often this process has a file open, where the system tells.
func openFiles(t *testing.T, path string) (n int) {
	t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && to == path {
			n++
		}
	}
	return n
}
