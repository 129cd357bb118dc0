package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	jobQueue  = 1024 // jobs waiting for the writer; more of them block their callers
	txEvents  = 4096 // events after which a transaction takes no further job
	sweepGap  = time.Minute
	sweepRows = 500
)

// writer runs jobs in write transactions, as many as are queued in each: while one
// commit is on its way to the disk the next transaction's jobs gather. It is the
// only one that writes on its connection, so there is one goroutine and no lock.
type writer struct {
	dialect dialect
	st      *statements
	session *session
	known   *known
	kept    func(topic int64) bool
	after   func(*tx) // told of every commit
	queue   chan *job
	urgent  chan *job // go first: a lease that is renewed too late is lost
	stop    chan struct{}
	done    sync.WaitGroup

	// running is held from when jobs are taken until they have run for the last time:
	// whoever passes it knows that his job no longer reads what belongs to the caller.
	running sync.Mutex
	sweeper sweeper
}

// job is a function that writes. A job that returns one of the driver's sentinels
// has written nothing; after any other error the whole transaction is rolled back
// and the other jobs run again. That is why there is no savepoint around each: the
// usual case costs no statement. A job may therefore run more than once.
type job struct {
	run    func(*tx) error
	events int
	taken  atomic.Bool // by the writer, or by a caller who gave up
	err    error
	done   chan struct{}
}

func newWriter(d dialect, conn *sql.Conn, kept func(int64) bool, after func(*tx)) *writer {
	w := &writer{
		dialect: d, st: newStatements(conn), session: newSession(conn), kept: kept, after: after,
		queue: make(chan *job, jobQueue), urgent: make(chan *job, jobQueue), stop: make(chan struct{}),
		sweeper: sweeper{last: time.Now()},
	}
	w.done.Go(w.loop)
	return w
}

// do runs a job and returns when it is durable. When ctx ends before the job was
// taken nothing is written and the error is driver.ErrNotStored; afterwards the
// outcome is unknown.
func (w *writer) do(ctx context.Context, events int, run func(*tx) error) error {
	return w.submit(ctx, w.queue, &job{run: run, events: events, done: make(chan struct{})})
}

// doFirst is do for a job that goes before those of do.
func (w *writer) doFirst(ctx context.Context, run func(*tx) error) error {
	return w.submit(ctx, w.urgent, &job{run: run, done: make(chan struct{})})
}

func (w *writer) submit(ctx context.Context, queue chan<- *job, j *job) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", driver.ErrNotStored, context.Cause(ctx))
	}
	select {
	case queue <- j:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", driver.ErrNotStored, context.Cause(ctx))
	case <-w.stop:
		return driver.ErrClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-w.stop:
		if !j.taken.Swap(true) {
			return driver.ErrClosed
		}
		<-j.done // close waits for the transaction in flight
		return j.err
	case <-ctx.Done():
		if !j.taken.Swap(true) {
			return fmt.Errorf("%w: %w", driver.ErrNotStored, context.Cause(ctx))
		}
	}
	w.running.Lock()
	//lint:ignore SA2001 a barrier, see running
	w.running.Unlock()
	select {
	case <-j.done:
		return j.err
	default:
		return fmt.Errorf("the outcome is unknown: the commit was under way: %w", context.Cause(ctx))
	}
}

// close waits for the transaction in flight and refuses what is queued.
func (w *writer) close() {
	close(w.stop)
	w.done.Wait()
}

func (w *writer) loop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.done.Go(func() { // so that waiting for other processes ends with close
		select {
		case <-w.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	for {
		first := w.next()
		if first == nil {
			return
		}
		w.transact(ctx, first)
	}
}

// next waits for a job, nil after close. While a sweep is under way it does not wait:
// the sweep goes on alone.
func (w *writer) next() *job {
	if w.sweeper.active {
		select {
		case <-w.stop:
			return nil
		case j := <-w.urgent:
			return j
		case j := <-w.queue:
			return j
		default:
			return &job{run: func(*tx) error { return nil }, done: make(chan struct{})}
		}
	}
	select {
	case <-w.stop:
		return nil
	case j := <-w.urgent:
		return j
	case j := <-w.queue:
		return j
	}
}

// transact runs first and what is queued behind it in one transaction. The right
// to write comes first, so that jobs gather while other processes have it.
func (w *writer) transact(ctx context.Context, first *job) {
	err := w.dialect.begin(ctx, w.session)
	w.running.Lock()
	defer w.running.Unlock()
	jobs := w.gather(first)
	if err == nil {
		defer w.dialect.end()
	}
	if swept := w.sweeper.job(); swept != nil {
		jobs = append(jobs, swept)
		defer func() { w.sweeper.done(swept.err) }()
	}
	for err == nil && len(jobs) > 0 {
		var again []*job
		again, err = w.attempt(jobs)
		if err == nil && len(again) > 0 {
			err = w.exec("BEGIN IMMEDIATE")
			jobs = again
			continue
		}
		if err == nil {
			return
		}
	}
	if err == nil { // every caller gave up
		w.rollback()
	}
	if err != nil {
		finish(jobs, w.notStored(err))
	}
}

// gather takes what is urgent, first, and what is queued, up to the bound of a
// transaction.
func (w *writer) gather(first *job) []*job {
	var jobs []*job
	for range len(w.urgent) {
		if j := <-w.urgent; !j.taken.Swap(true) {
			jobs = append(jobs, j)
		}
	}
	events := 0
	for j := first; ; {
		if !j.taken.Swap(true) {
			jobs = append(jobs, j)
			events += j.events
		}
		if events >= txEvents {
			return jobs
		}
		select {
		case j = <-w.queue:
		default:
			return jobs
		}
	}
}

// attempt runs the jobs in the transaction that was begun and ends it. Jobs to run
// again are returned when one of them spoiled the transaction; an error says that
// none of the jobs that are not finished can be stored.
func (w *writer) attempt(jobs []*job) (again []*job, err error) {
	t, err := w.newTx()
	if err != nil {
		w.rollback()
		return nil, err
	}
	bad, err := w.run(t, jobs)
	if err != nil {
		w.rollback()
		explained, all := w.dialect.explain(err)
		if bad == nil || all {
			return nil, explained
		}
		finish([]*job{bad}, w.notStored(err))
		for _, j := range jobs {
			if j != bad {
				again = append(again, j)
			}
		}
		return again, nil
	}
	w.running.Unlock() // no job runs any more, and the disk may take its time
	err = w.exec("COMMIT")
	w.running.Lock()
	if err != nil {
		w.rollback()
		explained, _ := w.dialect.explain(err)
		finish(jobs, fmt.Errorf("commit: %w", explained))
		return nil, nil
	}
	w.after(t)
	finish(jobs, nil)
	return nil, nil
}

// newTx starts the work of a transaction with what is known from the one before, or
// with nothing when another connection has committed since.
func (w *writer) newTx() (*tx, error) {
	version, err := w.session.version()
	if err != nil {
		return nil, err
	}
	if w.known == nil || w.known.version != version {
		w.known = newKnown(version)
	}
	return newTx(w.st, w.session, w.known, w.kept, w.dialect.now()), nil
}

// rollback ends what is left of a transaction: some errors have done so already.
// What it had found out may be about rows that are not there any more.
func (w *writer) rollback() {
	w.exec("ROLLBACK") //nolint:errcheck // some errors have rolled back already
	w.known = nil
}

// run calls the jobs and reports the one that spoiled the transaction.
func (w *writer) run(t *tx, jobs []*job) (bad *job, err error) {
	for _, j := range jobs {
		j.err = j.run(t)
		if j.err != nil && !refused(j.err) {
			return j, j.err
		}
	}
	return nil, t.flush()
}

// finish answers the callers; a refusal of their own goes before err.
func finish(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil || !refused(j.err) {
			j.err = err
		}
		close(j.done)
	}
}

// notStored says that an error left nothing behind.
func (w *writer) notStored(err error) error {
	explained, _ := w.dialect.explain(err)
	if refused(explained) {
		return explained
	}
	return fmt.Errorf("%w: %w", driver.ErrNotStored, explained)
}

func (w *writer) exec(query string) error {
	_, err := w.session.exec(query)
	return err
}

// refused reports whether a job decided not to write, as opposed to a database
// that failed to.
func refused(err error) bool {
	for _, s := range [...]error{
		driver.ErrClosed, driver.ErrNotFound, driver.ErrExists, driver.ErrFenced, driver.ErrGap, driver.ErrRefused,
		driver.ErrNotStored, driver.ErrBusy, driver.ErrFull, driver.ErrConflict,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}
