package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// SQLiteOptions configure OpenSQLite. The zero value is the default.
type SQLiteOptions struct {
	// ReadOnly opens the file without the right to write. It implies NoCreate.
	ReadOnly bool
	// NoCreate refuses to create a file that does not exist: the error wraps
	// os.ErrNotExist.
	NoCreate bool
}

// busyTimeout is how long a single statement waits for another writer inside
// SQLite, where a context cannot reach it. Tx waits longer, outside.
const busyTimeout = 5 * time.Second

// OpenSQLite opens or creates the database file at path, set up so that a commit
// survives a power cut and readers do not wait for the writer: journal_mode WAL,
// synchronous FULL, foreign keys on, transactions that take the write lock when
// they begin. Every pooled connection is set up alike. Path is a file's path, not
// a URL: any character means itself. It does not return until the file was read,
// so that what is wrong with it is reported here.
func OpenSQLite(path string, opts *SQLiteOptions) (*sql.DB, error) {
	if opts == nil {
		opts = &SQLiteOptions{}
	}
	abs, err := checkPath(path, opts)
	if err != nil {
		return nil, fmt.Errorf("sqldb: open %s: %w", path, err)
	}
	db, err := sql.Open("sqlite", sqliteDSN(abs, opts))
	if err != nil {
		return nil, fmt.Errorf("sqldb: open %s: %w", path, err)
	}
	if err := probe(db, opts); err != nil {
		db.Close()
		return nil, fmt.Errorf("sqldb: open %s: %w", path, explainOpen(err))
	}
	opened.add(abs)
	return db, nil
}

// checkPath finds the mistakes that SQLite reports as "unable to open".
func checkPath(path string, opts *SQLiteOptions) (string, error) {
	if path == "" || path == ":memory:" {
		return "", fmt.Errorf("%q is no file (each pooled connection would have a database of its own)", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	switch {
	case err == nil && info.IsDir():
		return "", errors.New("it is a directory (name a file in it)")
	case err == nil:
		return abs, nil
	case !errors.Is(err, os.ErrNotExist):
		return "", err
	case opts.ReadOnly || opts.NoCreate:
		return "", os.ErrNotExist
	}
	if info, err := os.Stat(filepath.Dir(abs)); err != nil || !info.IsDir() {
		return "", fmt.Errorf("the directory %s does not exist (create it first)", filepath.Dir(abs))
	}
	return abs, nil
}

// sqliteDSN returns a URI, in which every character of the path is escaped that
// means something to SQLite's URI parser or to the driver's.
func sqliteDSN(abs string, opts *SQLiteOptions) string {
	path := filepath.ToSlash(abs)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a Windows drive: file:///C:/x
	}
	q := url.Values{}
	q.Set("_txlock", "immediate")
	q.Set("_error_rc", "1") // no stale "out of memory" in messages
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()))
	q.Add("_pragma", "foreign_keys(1)")
	switch {
	case opts.ReadOnly:
		q.Set("mode", "ro")
	case opts.NoCreate:
		q.Set("mode", "rw")
		fallthrough
	default:
		q.Add("_pragma", "journal_mode(wal)")
		q.Add("_pragma", "synchronous(full)")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// probe makes SQLite read the file, which opening alone does not.
func probe(db *sql.DB, opts *SQLiteOptions) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*busyTimeout)
	defer cancel()
	var n int
	if err := db.QueryRowContext(ctx, "select count(*) from sqlite_schema").Scan(&n); err != nil {
		return err
	}
	if opts.ReadOnly {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil) // takes the write lock: a file that cannot be written fails here
	if err != nil {
		if IsBusy(err) {
			return nil // somebody writes, so it can be written
		}
		return err
	}
	return tx.Rollback()
}

func explainOpen(err error) error {
	switch {
	case IsReadOnly(err):
		return fmt.Errorf("the file or its directory cannot be written: %w", err)
	case isNotDatabase(err):
		return fmt.Errorf("the file is no SQLite database: %w", err)
	}
	return err
}

// opened remembers which files this process opened through OpenSQLite, as package
// state because what it guards is a property of the process: POSIX file locks.
var opened files

type files struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (f *files) add(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paths == nil {
		f.paths = make(map[string]bool)
	}
	f.paths[path] = true
}

// has reports whether path is a file that was opened, under whichever name.
func (f *files) has(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.paths {
		if other, err := os.Stat(p); err == nil && os.SameFile(info, other) {
			return true
		}
	}
	return false
}

// File returns the path of the database's main file, "" for one in memory or on a server.
func (db *DB) File(ctx context.Context) (string, error) {
	if db.dialect != DialectSQLite {
		return "", nil
	}
	var file string
	err := db.sql.QueryRowContext(ctx, "select coalesce(file, '') from pragma_database_list where name = 'main'").
		Scan(&file)
	if err != nil {
		return "", fmt.Errorf("sqldb: ask the database for its file: %w", err)
	}
	return file, nil
}

// Check refuses a database file that this process has open through two SQLite
// libraries: each closes the file behind the other's back, upon which the system
// drops the other's locks and committed rows are lost. Inbox and outbox call it
// before they write.
func (db *DB) Check(ctx context.Context) error {
	if db.ours || db.dialect != DialectSQLite {
		return nil
	}
	file, err := db.File(ctx)
	if err != nil {
		return err
	}
	if file != "" && opened.has(file) {
		return fmt.Errorf("sqldb: %s is open through two SQLite libraries, %T and %T, which loses data "+
			"(open it with sqldb.OpenSQLite, or give the bus a file of its own)",
			file, db.sql.Driver(), &sqlite.Driver{})
	}
	return nil
}
