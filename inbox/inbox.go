package inbox

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// Database is where On, OnBatch and OnAny keep effects: a *sqldb.DB, or the *Inbox
// of one when options are to differ from the defaults.
type Database interface {
	Check(ctx context.Context) error
	Migrate(ctx context.Context, component string, ms []sqldb.Migration) error
	Tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error
	SQL() *sql.DB
	Dialect() sqldb.Dialect
	Rebind(query string) string
}

var _, _ Database = (*sqldb.DB)(nil), (*Inbox)(nil)

// Options configure an Inbox. The zero value is the default.
type Options struct {
	// Keep is how long it is remembered that an event was handled. It has to exceed
	// the time after which the event may still be delivered: what its topic keeps,
	// and what a slow group may lag behind. Zero means 14 days, and nothing where the
	// bus lives in the same database: a time makes the inbox remember there too, and so
	// tell by source and id that an event was published twice.
	Keep time.Duration
}

// Inbox is a Database with options.
type Inbox struct {
	Database
	keep time.Duration // as set, 0 for the default

	mu      sync.Mutex
	hosts   map[driver.Joint]bool // whether an engine lives in the database
	ready   bool                  // the table exists
	cleaned time.Time             // when old rows were last removed
}

// New returns an inbox in db, for handlers that need options.
func New(db *sqldb.DB, opts *Options) *Inbox {
	in := open(db)
	if opts != nil {
		in.keep = opts.Keep
	}
	return in
}

const keepDefault = 14 * 24 * time.Hour

func open(db Database) *Inbox {
	if in, ok := db.(*Inbox); ok {
		return in
	}
	return &Inbox{Database: db}
}

// prepare creates the table before the first event, since a handler's transaction
// cannot.
func (in *Inbox) prepare(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ready {
		return nil
	}
	if in.keep < 0 {
		return fmt.Errorf("inbox: Options.Keep is %v (want 0 or more)", in.keep)
	}
	err := in.Check(ctx)
	if err == nil {
		err = in.Migrate(ctx, component, migrations[in.Dialect()])
	}
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	in.ready = true
	return nil
}

// receipt identifies what is to happen once.
type receipt struct {
	group, topic, source, id string
	run                      int
	quiet                    bool // a replay whose effect is not to happen again
	claim                    driver.Claim
	position                 string
}

// receiptOf returns the receipt of a delivery. Runs count for replays only: what a
// group meets for the first time may be redelivered across a reset, and is the same.
// A quiet replay is the same as well, so that its effect is not repeated.
func receiptOf(e deed.Event, d deed.Delivery) receipt {
	r := receipt{group: d.Group, topic: d.Topic, source: e.Source, id: e.ID, quiet: d.Replay && d.Quiet}
	_, r.claim, r.position = d.Held()
	if d.Replay && !d.Quiet && !seeded("replay") {
		r.run = d.Run
	}
	return r
}

// do runs fn in a transaction, which it also uses to remove old rows now and then where
// there are any. Where the server can, it ends the transaction of a process that is frozen
// for longer than the lease, so that its locks do not stop the partition's next owner.
func (in *Inbox) do(ctx context.Context, lease time.Duration, fn func(ctx context.Context, tx *sql.Tx) error) error {
	err := in.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if in.Dialect() == sqldb.DialectPostgres && lease > 0 {
			limit := fmt.Sprintf("set local idle_in_transaction_session_timeout = %d", lease.Milliseconds())
			if _, err := tx.ExecContext(ctx, limit); err != nil {
				return fmt.Errorf("inbox: %w", err)
			}
		}
		if err := fn(ctx, tx); err != nil {
			return err
		}
		if deed.Rehearsal(ctx) {
			return errRehearsed
		}
		return in.clean(ctx, tx)
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}

// errRehearsed rolls back what a handler did that was only tried out.
var errRehearsed = errors.New("rehearsed")

const insertReceipt = `insert into deed_inbox (group_name, source, id, run, topic, handled)
values (?, ?, ?, ?, ?, ?)`

// insert remembers r and reports whether it is new.
func (in *Inbox) insert(ctx context.Context, tx *sql.Tx, r receipt) (bool, error) {
	query := insertReceipt
	if in.Dialect() != sqldb.DialectMySQL { // there the transaction survives a row that exists
		query += " on conflict do nothing"
	}
	res, err := tx.ExecContext(ctx, in.Rebind(query), r.group, r.source, r.id, r.run, r.topic, time.Now().UnixMilli())
	if sqldb.IsUnique(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inbox: remember event %s: %w", r.id, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

const (
	cleanEvery = 10 * time.Second
	cleanBatch = 200
)

// clean removes a few old rows, at most every cleanEvery unless there are more.
func (in *Inbox) clean(ctx context.Context, tx *sql.Tx) error {
	now := time.Now()
	in.mu.Lock()
	due := in.ready && now.Sub(in.cleaned) >= cleanEvery
	if due {
		in.cleaned = now
	}
	in.mu.Unlock()
	if !due {
		return nil
	}
	skip := "" // what somebody else is removing
	if in.Dialect() == sqldb.DialectPostgres {
		skip = " for update skip locked"
	}
	res, err := tx.ExecContext(ctx, in.Rebind("delete from deed_inbox where (group_name, source, id, run) in "+
		"(select group_name, source, id, run from (select group_name, source, id, run from deed_inbox "+
		"where handled < ? order by handled limit ?"+skip+") as old)"),
		now.Add(-cmp.Or(in.keep, keepDefault)).UnixMilli(), cleanBatch)
	if err != nil {
		return fmt.Errorf("inbox: remove old rows: %w", err)
	}
	if n, err := res.RowsAffected(); err == nil && n == cleanBatch {
		in.mu.Lock()
		in.cleaned = time.Time{}
		in.mu.Unlock()
	}
	return nil
}
