package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// DB is a database with what deed needs of it. Its methods are safe for concurrent
// use. Make one DB for a *sql.DB and share it: commit hooks belong to the DB.
type DB struct {
	sql     *sql.DB
	dialect Dialect
	ours    bool // opened by the SQLite library that this package is built with
	queue   *queue
	schema  string // of Postgres, "" for what search_path says

	mu    sync.Mutex
	hooks []*func()
}

// SQLite returns a DB on an open SQLite database. It need not come from
// OpenSQLite, but what OpenSQLite sets up is then the caller's to set up.
func SQLite(db *sql.DB) *DB {
	_, ours := db.Driver().(*sqlite.Driver)
	return &DB{sql: db, dialect: DialectSQLite, ours: ours, queue: newQueue()}
}

// SQL returns the wrapped database.
func (db *DB) SQL() *sql.DB { return db.sql }

// Close gives back what the DB itself has open, after transactions under way have
// ended. The *sql.DB stays open, and the DB usable.
func (db *DB) Close() error {
	if db.queue == nil {
		return nil
	}
	return db.queue.close()
}

// Dialect returns which SQL the database speaks.
func (db *DB) Dialect() Dialect { return db.dialect }

// OnCommit calls fn after every transaction that Tx commits, until remove is
// called. Fn must not block.
func (db *DB) OnCommit(fn func()) (remove func()) {
	hook := &fn
	db.mu.Lock()
	db.hooks = append(db.hooks, hook)
	db.mu.Unlock()
	return func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.hooks = slices.DeleteFunc(db.hooks, func(h *func()) bool { return h == hook })
	}
}

// busyLimit bounds how long Tx retries while other writers are in the way.
const busyLimit = 30 * time.Second

// Tx runs fn in a transaction that may write. On Postgres and MySQL it is READ COMMITTED, and the
// whole of fn runs again after a deadlock. On SQLite it takes the write lock before fn
// starts, so that what fn reads is still true when it writes; transactions of one
// DB queue for it in order, and those of several processes on a file beside the
// database, FILE.lock. Fn's error or panic rolls back, and so does the end of
// ctx, before or during fn. When other writers are in the way the whole of fn runs
// again, for up to 30 s: fn may have no effects outside of tx.
//
// A Tx inside a Tx of the same DB would wait for itself and is refused.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if ctx.Value(txKey{db}) != nil {
		return errors.New("sqldb: Tx inside a Tx of the same database (use the tx at hand)")
	}
	ctx = context.WithValue(ctx, txKey{db}, true)
	started := time.Now()
	for delay := time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		err := db.tryTx(ctx, fn)
		if err == nil {
			db.committed()
			return nil
		}
		if !IsBusy(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(started) > busyLimit {
			return fmt.Errorf("sqldb: other writers were in the way for %v: %w", busyLimit, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(delay) + delay/2):
		}
	}
}

type txKey struct{ db *DB }

func (db *DB) tryTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	if db.dialect != DialectSQLite {
		return db.runTx(ctx, fn)
	}
	if err := db.queue.enter(ctx, func() string { return db.lockPath(ctx) }); err != nil {
		return err
	}
	defer db.queue.leave()
	return db.runTx(ctx, fn)
}

// runTx runs fn in a transaction once.
func (db *DB) runTx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) (err error) {
	tx, err := db.begin(ctx)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // an error, a panic or runtime.Goexit
			tx.Rollback()
		}
	}()
	err = fn(ctx, tx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return context.Cause(ctx) // the caller has lost the right to do this
	}
	if err != nil {
		return err
	}
	done = true
	return tx.Commit()
}

// lockPath returns the database whose lock file to queue on, "" for none. A database
// of another SQLite library is not deed's to put files beside.
func (db *DB) lockPath(ctx context.Context) string {
	if !db.ours {
		return ""
	}
	file, err := db.File(ctx)
	if err != nil {
		return ""
	}
	return file
}

// begin starts a transaction that holds the write lock, whatever the data source
// name says about that: a deferred transaction that reads and then writes fails
// with BUSY, which no waiting cures.
func (db *DB) begin(ctx context.Context) (*sql.Tx, error) {
	if db.dialect != DialectSQLite {
		return db.sql.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	var opts *sql.TxOptions
	if db.ours {
		opts = &sql.TxOptions{ReadOnly: true} // makes this driver begin without a lock
	}
	tx, err := db.sql.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "rollback; begin immediate"); err != nil {
		tx.Rollback() // frees the connection; nothing was begun
		return nil, err
	}
	return tx, nil
}

func (db *DB) committed() {
	db.mu.Lock()
	hooks := slices.Clone(db.hooks)
	db.mu.Unlock()
	for _, h := range hooks {
		(*h)()
	}
}
