package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

const (
	accounts      = 40 // how many keys all writers share
	accountPrefix = "w-k"
	accountSource = "/torture/accounts"
)

// writer changes accounts, and announces each change through the outbox, in one
// transaction. The account's row gives the event its version, under its lock. Some
// transactions are rolled back at the end, and some stay open.
func writer(ctx context.Context, job Job) error {
	rec, db, done, err := openBooks(job)
	if err != nil {
		return err
	}
	defer done()
	box, err := openOutbox(ctx, db)
	if err != nil {
		return err
	}
	w := &writing{job: job, rec: rec, db: db, box: box}
	errs := make([]error, job.Load.Lanes)
	var wg sync.WaitGroup
	wg.Go(func() { w.watchBacklog(ctx) })
	for lane := range job.Load.Lanes {
		wg.Go(func() { errs[lane] = w.lane(ctx, lane) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openOutbox is outbox.New once the database is there, which may be away for a moment.
func openOutbox(ctx context.Context, db *sqldb.DB) (*outbox.Outbox, error) {
	var box *outbox.Outbox
	err := patiently(ctx, func() error {
		box = outbox.New(db, accountSource, nil)
		_, err := box.Pending(context.WithoutCancel(ctx))
		return err
	})
	return box, err
}

// patiently does what may fail while a server is away, as whoever starts a service does.
func patiently(ctx context.Context, do func() error) error {
	err := do()
	for deadline := time.Now().Add(stubborn); err != nil && time.Now().Before(deadline); err = do() {
		pause(ctx, 100*time.Millisecond)
	}
	return err
}

type writing struct {
	job Job
	rec *Recorder
	db  *sqldb.DB
	box *outbox.Outbox

	number atomic.Int64 // of the last transaction
	full   atomic.Bool  // the effects are too far behind
}

// lane makes one transaction after the other until ctx ends. What fails is made up for
// by the next one, unless nothing succeeds any more.
func (w *writing) lane(ctx context.Context, lane int) error {
	r := rand.New(rand.NewPCG(w.job.Seed, uint64(1<<40|w.job.Slot<<20|w.job.Life<<8|lane)))
	progress := time.Now()
	for ctx.Err() == nil {
		err := w.transact(ctx, r)
		switch {
		case err == nil:
			progress = time.Now()
		case time.Since(progress) > stubborn:
			return fmt.Errorf("no transaction has succeeded for %v: %w", stubborn, err)
		}
		for pause(ctx, 50*time.Millisecond) == nil && w.full.Load() {
		}
	}
	return nil
}

var errRolledBack = errors.New("the writer thought better of it")

// transact changes one to three accounts. One transaction in twenty is rolled back, one
// in ten dwells, and one in a hundred stays open for long.
func (w *writing) transact(ctx context.Context, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stubborn) // what it began it finishes
	defer cancel()
	keys := r.Perm(accounts)[:1+r.IntN(3)]
	if r.IntN(10) > 0 {
		slices.Sort(keys) // the others run into deadlocks
	}
	rollback, dwell := r.IntN(20) == 0, time.Duration(0)
	switch n := r.IntN(100); {
	case n == 0:
		dwell = between(r, 0, w.longest())
	case n <= 10:
		dwell = between(r, 0, 50*time.Millisecond)
	}
	var announced []Op
	err := w.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		announced = nil // of a former try, which a deadlock has undone
		facts, err := w.change(ctx, tx, keys)
		if err != nil {
			return err
		}
		if err := pause(ctx, dwell); err != nil {
			return err
		}
		if rollback {
			w.rec.Record(opsOf(Rollback, facts)...)
			return errRolledBack
		}
		w.rec.Record(opsOf(Invoke, facts)...)
		announced = opsOf(OK, facts)
		return nil
	})
	switch {
	case err == nil:
		w.rec.Record(announced...)
	case len(announced) > 0: // nobody knows whether it is committed
		for i := range announced {
			announced[i].Do, announced[i].Err = Info, err.Error()
		}
		w.rec.Record(announced...)
	}
	if errors.Is(err, errRolledBack) {
		return nil
	}
	return err
}

// longest is how long a transaction stays open at most. It holds up all others on SQLite.
func (w *writing) longest() time.Duration {
	if w.db.Dialect() == sqldb.DialectSQLite {
		return w.job.Lease / 5
	}
	return 5 * w.job.Lease / 2
}

// change raises the accounts' versions and publishes what that makes of them.
func (w *writing) change(ctx context.Context, tx *sql.Tx, keys []int) ([]Fact, error) {
	lock := " FOR UPDATE"
	if w.db.Dialect() == sqldb.DialectSQLite {
		lock = ""
	}
	name := fmt.Sprintf("%s-%d", w.job.proc(), w.number.Add(1))
	facts := make([]Fact, len(keys))
	drafts := make([]deed.Draft, len(keys))
	for i, n := range keys {
		key := accountKey(n)
		var kv int64
		row := tx.QueryRowContext(ctx, w.db.Rebind("SELECT last_kv FROM accounts WHERE event_key = ?"+lock), key)
		if err := row.Scan(&kv); err != nil {
			return nil, err
		}
		kv++
		_, err := tx.ExecContext(ctx, w.db.Rebind("UPDATE accounts SET last_kv = ?, total = total + ? WHERE event_key = ?"),
			kv, amount(kv), key)
		if err != nil {
			return nil, err
		}
		facts[i] = newFact(key, kv, n == poisonedKey && kv == poisonedKV)
		facts[i].Tx = name
		drafts[i] = accountType.New(facts[i])
		drafts[i].ID = facts[i].id()
	}
	return facts, w.box.Publish(ctx, tx, drafts...)
}

func accountKey(n int) string { return fmt.Sprint(accountPrefix, n) }

// watchBacklog is that of publishers: writers wait while the effects are far behind the
// accounts.
func (w *writing) watchBacklog(ctx context.Context) {
	query := "SELECT (SELECT sum(last_kv) FROM accounts) - " +
		"(SELECT coalesce(sum(events), 0) FROM ledger WHERE event_key LIKE '" + accountPrefix + "%')"
	for pause(ctx, 300*time.Millisecond) == nil {
		var behind int
		if w.db.SQL().QueryRowContext(ctx, query).Scan(&behind) == nil {
			w.full.Store(behind > w.job.Load.Backlog)
		}
	}
}

// relay moves what writers have committed to the bus.
func relay(ctx context.Context, job Job) error {
	rec, db, done, err := openBooks(job)
	if err != nil {
		return err
	}
	defer done()
	box, err := openOutbox(ctx, db)
	if err != nil {
		return err
	}
	bus, err := openBus(ctx, job, rec)
	if err != nil {
		return err
	}
	defer bus.Close()
	return patiently(ctx, func() error { return bus.Run(ctx, box) })
}
