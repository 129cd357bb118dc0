package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

const (
	// pollEvery is how often the relay looks for rows of transactions that were not
	// committed by this process's DB.Tx, which wakes it at once.
	pollEvery = 20 * time.Millisecond
	// retryEvery is how often the slow lane looks for places that may be tried again.
	retryEvery = 100 * time.Millisecond
	// staleAfter is when rows that another relay has stamped, and not sent, are
	// taken over.
	staleAfter = time.Second
	// sendTimeout bounds one call of the bus, so that a partition which hangs holds
	// the others up once at most.
	sendTimeout = 10 * time.Second
)

// relay is one Run of an Outbox.
type relay struct {
	db   *sqldb.DB
	bus  *deed.Bus
	opts Options
	log  *slog.Logger

	troubles  troubles
	topics    topics
	wake      chan struct{} // something was committed: for main
	committed chan struct{} // the same for sequence

	stamping sync.Mutex // held while stamps are written, in the database and in stamps

	unsure atomic.Bool // whether the engine has what was sent: it did not answer when it was asked

	mu     sync.Mutex
	stamps map[place]*stamp         // the producer that each partition's rows are stamped with
	dirty  map[place]bool           // partitions with stamped rows to send
	sentTo map[place]deed.Sequenced // what comes after all that was sent, without events
}

// Run moves committed events to the bus until ctx ends. Then it makes a last pass,
// bounded by the bus's Options.Drain, and returns nil. Trouble with the bus or the
// database is logged and tried again; Run returns an error only when the outbox
// cannot be used at all, or the bus was closed.
func (o *Outbox) Run(ctx context.Context, bus *deed.Bus) error {
	if f := bus.Features(); f.Ephemeral {
		return fmt.Errorf("outbox: run: %s stores nothing, so what was kept here until then would be lost "+
			"(open an engine that stores events, or announce with Bus.Publish): %w", f.Engine, errors.ErrUnsupported)
	}
	if o.opts.Bus != nil && o.opts.Bus != bus {
		return errors.New("outbox: run: Options.Bus is another bus (give Run the same one)")
	}
	// Not with ctx: even a Run that was stopped before it began makes its last pass.
	if err := o.prepare(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("outbox: run: %w", err)
	}
	r := o.relay(bus)
	remove := o.db.OnCommit(func() {
		for _, wake := range []chan struct{}{r.wake, r.committed} {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	defer remove()
	lanes, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { r.main(lanes, cancel) })
	wg.Go(func() { r.slow(lanes, cancel) })
	wg.Go(func() { r.clean(lanes) })
	wg.Go(func() { r.probe(lanes) })
	if intake := o.intakeNow(); intake != nil && o.db.Dialect() != sqldb.DialectSQLite {
		wg.Go(func() { r.sequence(lanes, intake, cancel) })
	}
	wg.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("outbox: run: %w", context.Cause(lanes))
	}
	r.last(ctx, o.intakeNow())
	return nil
}

func (o *Outbox) relay(bus *deed.Bus) *relay {
	return &relay{
		db: o.db, bus: bus, opts: o.opts, log: bus.Options().Logger,
		troubles: troubles{places: make(map[place]*trouble)},
		wake:     make(chan struct{}, 1), committed: make(chan struct{}, 1),
		stamps: make(map[place]*stamp), dirty: make(map[place]bool), sentTo: make(map[place]deed.Sequenced),
	}
}

// main relays whatever is not in trouble.
func (r *relay) main(ctx context.Context, stop context.CancelCauseFunc) {
	var delay time.Duration
	var discovered time.Time
	started := false
	for ctx.Err() == nil {
		var err error
		if !started {
			err = r.start(ctx)
			started = err == nil
		} else if time.Since(discovered) >= staleAfter {
			err = r.discover(ctx, time.Now().Add(-staleAfter))
			discovered = time.Now()
		}
		more := false
		if err == nil {
			more, err = r.pass(ctx, mainLane)
		}
		if r.pause(ctx, &delay, err, stop) && !more {
			r.await(ctx)
		}
	}
}

// start takes up what an earlier run has left.
func (r *relay) start(ctx context.Context) error {
	if r.remembers() {
		if err := r.resendLast(ctx); err != nil {
			return err
		}
	}
	return r.discover(ctx, time.Now())
}

// slow tries again what is in trouble.
func (r *relay) slow(ctx context.Context, stop context.CancelCauseFunc) {
	var delay time.Duration
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ctx.Err() == nil && r.troubles.due() {
			_, err := r.pass(ctx, slowLane)
			r.pause(ctx, &delay, err, stop)
		}
	}
}

// last relays what was committed before ctx ended.
func (r *relay) last(ctx context.Context, intake driver.Intake) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.bus.Options().Drain)
	defer cancel()
	err := r.discover(ctx, time.Now())
	for more := true; more && err == nil; {
		more, err = r.pass(ctx, allLanes)
	}
	if intake != nil {
		err = errors.Join(err, r.sequenceLast(ctx, intake))
	}
	if err != nil {
		r.log.Warn("outbox: events stay for the next run", "error", err)
	}
}

// pass stamps new rows and sends stamped ones. It reports whether there is more to
// do at once. Its error is the database's, or the bus was closed.
func (r *relay) pass(ctx context.Context, l lane) (more bool, err error) {
	stamped, err := r.stamp(ctx, l)
	if err != nil {
		return false, err
	}
	sent, err := r.send(ctx, l)
	return stamped || sent, err
}

// await returns when there may be something to do, or ctx has ended.
func (r *relay) await(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	until := time.Now().Add(staleAfter)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			return
		case now := <-tick.C:
			// An error counts as found: the pass meets it again and reports it.
			if found, err := r.waiting(ctx); found || err != nil || now.After(until) {
				return
			}
		}
	}
}

// waiting reports whether there are new rows: one index look-up. It is not prepared, for
// the sake of poolers that give each transaction another connection.
func (r *relay) waiting(ctx context.Context) (found bool, err error) {
	query := r.db.Rebind("select exists (select 1 from deed_outbox where state = 'new' and not_before <= ?)")
	err = r.db.SQL().QueryRowContext(ctx, query, time.Now().UnixMilli()).Scan(&found)
	return found, err
}

// discover finds partitions whose first unsent row was stamped before t, by a relay
// that crashed or by an earlier run. It steps over the index from one partition to
// the next, whatever the number of rows.
func (r *relay) discover(ctx context.Context, t time.Time) error {
	query := r.db.Rebind("select topic, partition_no, changed from deed_outbox where state = 'stamped' " +
		"and (topic, partition_no) > (?, ?) order by topic, partition_no, turn limit 1")
	var at place
	at.partition = noPartition
	for {
		var changed int64
		err := r.db.SQL().QueryRowContext(ctx, query, at.topic, at.partition).Scan(&at.topic, &at.partition, &changed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find unsent rows: %w", err)
		}
		if changed <= t.UnixMilli() {
			r.mark(at)
		}
	}
}

// resendLast makes each partition's last sent row unsent. The engine recognises it,
// unless it has lost it: then it is stored again, or found to be behind a gap.
func (r *relay) resendLast(ctx context.Context) error {
	return r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, r.db.Rebind("update deed_outbox set state = 'stamped', changed = 0 "+
			"where state = 'sent' and turn in (select turn from (select max(turn) as turn from deed_outbox "+
			"where state = 'sent' group by topic, partition_no) as newest)"))
		return err
	})
}

// tx runs fn in a transaction of the relay's. Those of all relays of a database come one
// after the other, as all do on SQLite; publishing waits for none.
func (r *relay) tx(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return r.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if r.db.Dialect() != sqldb.DialectSQLite {
			var turn int64
			query := r.db.Rebind("select turn from deed_outbox_turn for update")
			if err := tx.QueryRowContext(ctx, query).Scan(&turn); err != nil {
				return err
			}
		}
		return fn(ctx, tx)
	})
}

// mark notes that a partition has rows to send.
func (r *relay) mark(p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[p] = true
}

// pause waits after err, longer each time. It reports whether there was none.
func (r *relay) pause(ctx context.Context, delay *time.Duration, err error, stop context.CancelCauseFunc) bool {
	switch {
	case err == nil:
		*delay = 0
		return true
	case errors.Is(err, driver.ErrClosed):
		stop(err)
		return false
	case ctx.Err() != nil:
		return false
	}
	*delay = min(max(2**delay, backoffMin), backoffMax)
	r.log.Warn("outbox: the relay failed and tries again", "in", *delay, "error", err)
	timer := time.NewTimer(*delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}
