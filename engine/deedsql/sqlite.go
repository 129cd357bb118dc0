package deedsql

import (
	"context"
	"database/sql"
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
	sqliteBytes = 64 << 20 // largest data of an event
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
}

// sqlitePath returns the file that a URL names: sqlite:orders.db, sqlite:/abs.db,
// sqlite:///abs.db.
func sqlitePath(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok {
		scheme, _, _ := strings.Cut(url, ":")
		return "", fmt.Errorf("deedsql: no engine for %q (want sqlite:FILE)", scheme)
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
func openSQLite(ctx context.Context, path string, opts *Options) (*sqliteDialect, error) {
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
	if err := sqldb.SQLite(d.db).Migrate(ctx, component, sqliteMigrations); err != nil {
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

// writeConn returns the connection that the writer owns.
func (d *sqliteDialect) writeConn(ctx context.Context) (*sql.Conn, error) {
	c, err := d.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var synchronous int
	if err := c.QueryRowContext(ctx, "pragma synchronous").Scan(&synchronous); err != nil {
		c.Close()
		return nil, err
	}
	if synchronous < 2 {
		c.Close()
		return nil, fmt.Errorf("synchronous is %d, which a power cut does not respect (want 2, FULL)", synchronous)
	}
	if _, err := c.ExecContext(ctx, fmt.Sprintf("pragma wal_autocheckpoint = %d", sqliteWAL)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// begin queues with the writers of other processes on the lock file: SQLite's own
// busy handler polls, and starves whoever is unlucky.
func (d *sqliteDialect) begin(ctx context.Context, s *session) error {
	if err := d.lock.Lock(ctx); err != nil {
		return err
	}
	for {
		_, err := s.exec("BEGIN IMMEDIATE")
		if err == nil {
			return nil
		}
		// A user's own transaction in this file takes no part in the queue.
		if !sqldb.IsBusy(err) || ctx.Err() != nil {
			d.lock.Unlock()
			return err
		}
	}
}

func (d *sqliteDialect) end() { d.lock.Unlock() }

// now is this machine's clock: an SQLite file is used by one machine.
func (d *sqliteDialect) now() time.Time { return time.Now() }

func (d *sqliteDialect) explain(err error) (error, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err, false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %s: the disk is full (free some space, then go on): %w",
			driver.ErrNotStored, d.path, err), true
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%w: %s cannot be written (check the permissions of the file and its directory): %w",
			driver.ErrRefused, d.path, err), true
	case sqlite3.SQLITE_TOOBIG:
		return fmt.Errorf("%w: too large for %s: %w", driver.ErrRefused, d.path, err), false
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s is damaged (restore it from a backup): %w", d.path, err), true
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%s: %w", d.path, err), true
	}
	return fmt.Errorf("%s: %w", d.path, err), false
}

func (d *sqliteDialect) features() driver.Features {
	return driver.Features{
		Engine:     "sqlite",
		Durability: driver.Power,
		KeyOrder:   true, Groups: true, Fenced: true, DensePos: true, Sequence: true, Dedupe: true, SideLog: true,
		Lag: true, Browse: true, Delay: true, Reset: true, Retention: true,
		MultiProcess:  true,
		MaxEventBytes: sqliteBytes,
	}
}

func (d *sqliteDialect) close() error {
	err := d.db.Close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}
