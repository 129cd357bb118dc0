package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

const (
	maxData = 64 << 20 // largest data of an event
	// sqliteWAL is how many pages the log that SQLite writes first may have, 16 MiB,
	// before the writer copies them to their places, which everybody waits for. Many
	// of them are one page again and again, and then are copied once.
	sqliteWAL = 4000
)

// sqliteDialect is one SQLite file.
type sqliteDialect struct {
	path string // as the user named it, for messages
	db   *sql.DB
	lock *sqldb.FileLock

	writes *session // the one connection that writes; nil when read-only
	begun  bool     // enter has begun the transaction
}

// sqlitePath returns the file that a URL names: sqlite:orders.db, sqlite:/abs.db,
// sqlite:///abs.db.
func sqlitePath(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok {
		return "", errors.New("deedsql: no SQLite URL (want sqlite:FILE)")
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			return "", fmt.Errorf("deedsql: %s: a relative file is written without slashes (sqlite:%s)", url, rest)
		}
		path = rest
	}
	if path == "" {
		return "", fmt.Errorf("deedsql: %s names no file (want sqlite:FILE)", url)
	}
	return path, nil
}

// openSQLite opens the file and checks that it keeps what Features promises.
func openSQLite(ctx context.Context, url string, opts *Options) (*sqliteDialect, error) {
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	db, err := sqldb.OpenSQLite(path, &sqldb.SQLiteOptions{ReadOnly: opts.ReadOnly, NoCreate: opts.NoCreate})
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("deedsql: %s does not exist (publish an event to create it, or name another file): %w",
				path, os.ErrNotExist)
		}
		return nil, err
	}
	d := &sqliteDialect{path: path, db: db}
	if err := d.check(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("deedsql: open %s: %w", path, err)
	}
	if err := d.prepare(ctx, opts); err != nil {
		db.Close()
		return nil, fmt.Errorf("deedsql: open %s: %w", path, err)
	}
	if !opts.ReadOnly {
		if err := d.openWriter(ctx); err != nil {
			d.close()
			return nil, fmt.Errorf("deedsql: open %s: %w", path, err)
		}
	}
	return d, nil
}

// prepare brings the tables up to date and opens the lock file.
func (d *sqliteDialect) prepare(ctx context.Context, opts *Options) error {
	if opts.NoCreate || opts.ReadOnly {
		var n int
		err := d.db.QueryRowContext(ctx, "select count(*) from sqlite_schema where name = 'deed_topic'").Scan(&n)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: the database has no topics of deed (publish an event to create one)", driver.ErrNotFound)
		}
	}
	if opts.ReadOnly {
		return nil
	}
	var err error
	if d.lock, err = sqldb.OpenFileLock(d.path); err != nil {
		return fmt.Errorf("the lock file, on which writers queue: %w", err)
	}
	db := sqldb.SQLite(d.db)
	if err := errors.Join(db.Migrate(ctx, component, sqliteMigrations), db.Close()); err != nil {
		d.lock.Close()
		return err
	}
	return nil
}

// check refuses what would lose acknowledged events.
func (d *sqliteDialect) check(ctx context.Context) error {
	var mode, version string
	if err := d.db.QueryRowContext(ctx, "pragma journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its journal mode is %s and cannot be changed to wal (close whoever else has it open; "+
			"file systems without shared memory cannot keep it)", mode)
	}
	var major, minor, patch int
	if err := d.db.QueryRowContext(ctx, "select sqlite_version()").Scan(&version); err != nil {
		return err
	}
	fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch) //nolint:errcheck // zeros are refused below
	if major*1e6+minor*1e3+patch < 3_051_003 {
		return fmt.Errorf("SQLite %s can corrupt a WAL that two processes write (use 3.51.3 or newer)", version)
	}
	return nil
}

// openWriter opens the connection that writes.
func (d *sqliteDialect) openWriter(ctx context.Context) error {
	c, err := d.db.Conn(ctx)
	if err != nil {
		return err
	}
	var synchronous int
	if err := c.QueryRowContext(ctx, "pragma synchronous").Scan(&synchronous); err != nil {
		c.Close()
		return err
	}
	if synchronous < 2 {
		c.Close()
		return fmt.Errorf("synchronous is %d, which a power cut does not respect (want 2, FULL)", synchronous)
	}
	set := fmt.Sprintf("pragma wal_autocheckpoint = %d", sqliteWAL)
	if seeded("sync") {
		set += "; pragma synchronous = off"
	}
	if _, err := c.ExecContext(ctx, set); err != nil {
		c.Close()
		return err
	}
	d.writes = newSession(c, d)
	return nil
}

func (d *sqliteDialect) prepares() bool { return true }

func (d *sqliteDialect) lends() bool { return false }

func (d *sqliteDialect) limits() limits { return limits{data: maxData} }

func (d *sqliteDialect) updateClaim(t *tx, _ claimKey, query string, args ...any) (int64, error) {
	return t.exec(query, args...)
}

func (d *sqliteDialect) lanes() int { return 1 }

func (d *sqliteDialect) tables() tables { return sqliteTables{} }

// shared is not so: whoever has the file's write lock is alone.
func (d *sqliteDialect) shared() bool { return false }

// sql says FAIL with every insert. A failure rolls the transaction back, so a statement
// need not be able to undo its first rows when a later one fails: without FAIL SQLite
// copies each page for that before it is changed. No row is locked beside the file.
func (d *sqliteDialect) sql(query string) string {
	query = strings.TrimSuffix(strings.TrimSuffix(query, forUpdate), forShare)
	if rest, ok := strings.CutPrefix(query, "INSERT INTO "); ok {
		return "INSERT OR FAIL INTO " + rest
	}
	return query
}

// enter queues with the writers of other processes on the lock file: SQLite's own busy
// handler polls, and starves whoever is unlucky. The transaction begins here, since a
// user's own transaction on the file may be what is waited for.
func (d *sqliteDialect) enter(ctx context.Context) error {
	if err := d.lock.Lock(ctx); err != nil {
		return err
	}
	for {
		_, err := d.writes.exec("BEGIN IMMEDIATE")
		if err == nil {
			d.begun = true
			return nil
		}
		// A user's own transaction in this file takes no part in the queue.
		if !sqldb.IsBusy(err) || ctx.Err() != nil {
			d.lock.Unlock()
			return err
		}
	}
}

func (d *sqliteDialect) leave() { d.lock.Unlock() }

// begin goes on with what enter began. All that is known still holds when no other
// connection has committed.
func (d *sqliteDialect) begin(_ context.Context, _ *needs, before *known) (*session, *known, error) {
	if !d.begun {
		if _, err := d.writes.exec("BEGIN IMMEDIATE"); err != nil {
			return nil, nil, err
		}
	}
	d.begun = false
	version, err := dataVersion(d.writes)
	if err != nil {
		d.writes.exec("ROLLBACK") //nolint:errcheck // nothing was written
		return nil, nil, err
	}
	if before == nil || before.version != version {
		before = newKnown(version)
	}
	before.time = d.now()
	return d.writes, before, nil
}

func (d *sqliteDialect) end(*session, bool) {}

func (d *sqliteDialect) try(*tx, lock) (bool, error) { return true, nil }

// committed has nothing to do: the others look at the file.
func (d *sqliteDialect) committed() {}

// dataVersion returns a number that other connections' commits change.
func dataVersion(s *session) (n int64, err error) {
	err = s.each("PRAGMA data_version", func(row []sqldriver.Value) bool {
		n, _ = row[0].(int64)
		return true
	})
	return n, err
}

// now is this machine's clock: an SQLite file is used by one machine.
func (d *sqliteDialect) now() time.Time { return time.Now() }

func (d *sqliteDialect) explain(err error) (scope, error) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return oneJob, err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return allJobs, fmt.Errorf("%w: %s: the disk is full (free some space, then go on): %w",
			driver.ErrNotStored, d.path, err)
	case sqlite3.SQLITE_READONLY:
		return allJobs, fmt.Errorf("%w: %s cannot be written (check the permissions of the file and its directory): %w",
			driver.ErrRefused, d.path, err)
	case sqlite3.SQLITE_TOOBIG:
		return oneJob, fmt.Errorf("%w: too large for %s: %w", driver.ErrRefused, d.path, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return allJobs, fmt.Errorf("%s is damaged (restore it from a backup): %w", d.path, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM:
		return allJobs, fmt.Errorf("%s: %w", d.path, err)
	}
	return oneJob, fmt.Errorf("%s: %w", d.path, err)
}

func (d *sqliteDialect) features() driver.Features {
	return driver.Features{
		Engine:     "sqlite",
		Durability: driver.Power,
		KeyOrder:   true, Groups: true, Backlog: true, Fenced: true, DensePos: true,
		Sequence: true, Dedupe: true, SideLog: true,
		Lag: true, Browse: true, Delay: true, Reset: true, Retention: true,
		Streams: true, Records: true,
		MultiProcess:  true,
		MaxEventBytes: maxData,
	}
}

func (d *sqliteDialect) commit(s *session) error {
	_, err := s.exec("COMMIT")
	return err
}

func (d *sqliteDialect) close() error {
	var err error
	if d.writes != nil {
		err = d.writes.close()
	}
	err = errors.Join(err, d.db.Close())
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}
