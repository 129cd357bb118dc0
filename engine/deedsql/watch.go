package deedsql

import (
	"context"
	sqldriver "database/sql/driver"
	"time"
)

const (
	// How soon commits are noticed: while they come one after the other, and after a
	// second without, to let the processor sleep.
	sqlitePoll = 15 * time.Millisecond
	sqliteRest = 45 * time.Millisecond
	// sqliteNet is how often the version is asked for at rest where the system tells of
	// every write to the file, which wakes nobody in between.
	sqliteNet = 500 * time.Millisecond
	// sqliteLively is how long after commits others are expected.
	sqliteLively = time.Second
)

// watch implements [dialect].
func (d *sqliteDialect) watch(ctx context.Context, changed func()) error {
	w, err := d.newWatch(ctx)
	if err != nil {
		return err
	}
	w.run(ctx, changed)
	return nil
}

// sqliteWatch notices commits of other connections. It asks for data_version, which
// costs a few microseconds and no lock. What the system tells of the WAL's writes only
// says when to ask: they come before the commit, or are part of none. The time of the
// file would not do in their place: two commits may come within its grain.
type sqliteWatch struct {
	polls       *session
	writes      *fileWrites // nil where the system tells of none
	net, lively time.Duration

	commits time.Time // the last one
	active  time.Time // the last one that came within lively of another
	pending bool      // what was written may belong to a transaction under way
	woken   time.Time // by a write
}

func (d *sqliteDialect) newWatch(ctx context.Context) (*sqliteWatch, error) {
	c, err := d.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &sqliteWatch{polls: newSession(c, d), net: sqliteNet, lively: sqliteLively, active: time.Now(), pending: true}
	if _, err := w.polls.exec("PRAGMA busy_timeout = 0"); err != nil { // see underWay
		w.polls.close()
		return nil, err
	}
	file := ""
	err = w.polls.each("PRAGMA database_list", func(row []sqldriver.Value) bool {
		file, _ = row[2].(string)
		return false
	})
	if err == nil {
		w.writes, err = watchWrites(file + "-wal")
	}
	if err != nil {
		w.writes = nil // polling does as well
	}
	return w, nil
}

// run calls changed after commits until ctx ends.
func (w *sqliteWatch) run(ctx context.Context, changed func()) {
	defer w.polls.close() //nolint:errcheck // it has nothing to lose
	if writes := w.writes; writes != nil {
		stop := context.AfterFunc(ctx, writes.close)
		defer writes.close()
		defer stop()
	}
	for last := int64(-1); ctx.Err() == nil; w.wait(ctx) {
		now, err := dataVersion(w.polls)
		if err != nil || now == last {
			continue // the readers meet the same error and report it
		}
		at := time.Now()
		if at.Sub(w.commits) < w.lively { // one alone is a heartbeat, as a rule of this process
			w.active = at
		}
		last, w.commits = now, at
		changed()
	}
}

// wait returns when it is time to ask for the version. A write is no reason to go on
// sleeping until the transaction that it belongs to has ended, which may be long after.
func (w *sqliteWatch) wait(ctx context.Context) {
	quiet := time.Since(w.active)
	if w.writes == nil || quiet < w.lively {
		w.pending, w.woken = true, time.Now()
		pause(ctx, pollAfter(quiet))
		return
	}
	if w.pending {
		awake := time.Since(w.woken)
		pause(ctx, min(max(awake, time.Millisecond), pollAfter(awake)))
	} else {
		wrote, err := w.writes.wait(w.net)
		if err != nil {
			w.writes.close()
			w.writes = nil
		}
		w.pending, w.woken = wrote, time.Now()
	}
	w.pending = w.pending && w.underWay()
}

// underWay reports whether a transaction may be under way: when none is, all that was
// written before is committed, or never will be. It takes SQLite's right to write for a
// moment, past the queue of writers, and waits for nobody.
func (w *sqliteWatch) underWay() bool {
	if _, err := w.polls.exec("BEGIN IMMEDIATE"); err != nil {
		return true
	}
	_, err := w.polls.exec("ROLLBACK")
	return err != nil
}

// pollAfter is the pause before the next poll after so long without a commit.
func pollAfter(quiet time.Duration) time.Duration {
	if quiet < time.Second {
		return sqlitePoll
	}
	return sqliteRest
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
