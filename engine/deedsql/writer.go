package deedsql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

// retries is how often a transaction runs again because others were in its way, before
// its callers are told.
const retries = 20

// writer runs jobs in write transactions, as many as are queued in each: while one
// commit is on its way to the disk the next transaction's jobs gather. It is the
// only one of its process that writes, so there is one goroutine and no lock.
type writer struct {
	dialect dialect
	session *session // of the transaction under way
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
	run     func(*tx) error
	events  int
	locks   []lock         // that it surely needs; tx.lock takes what it finds out later
	batches []driver.Batch // that it stores
	taken   atomic.Bool    // by the writer, or by a caller who gave up
	err     error
	done    chan struct{}
}

func newWriter(d dialect, kept func(int64) bool, after func(*tx), sweeps bool) *writer {
	w := &writer{
		dialect: d, kept: kept, after: after,
		queue: make(chan *job, jobQueue), urgent: make(chan *job, jobQueue), stop: make(chan struct{}),
		sweeper: sweeper{never: !sweeps, last: time.Now()},
	}
	w.done.Go(w.loop)
	return w
}

// do runs a job and returns when it is durable. When ctx ends before the job was
// taken nothing is written and the error is driver.ErrNotStored; afterwards the
// outcome is unknown.
func (w *writer) do(ctx context.Context, j *job) error { return w.submit(ctx, w.queue, j) }

// doFirst is do for a job that goes before those of do.
func (w *writer) doFirst(ctx context.Context, j *job) error { return w.submit(ctx, w.urgent, j) }

func (w *writer) submit(ctx context.Context, queue chan<- *job, j *job) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", driver.ErrNotStored, context.Cause(ctx))
	}
	j.done = make(chan struct{})
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

// transact runs first and what is queued behind it in one transaction. Jobs gather
// while others have the right to write.
func (w *writer) transact(ctx context.Context, first *job) {
	err := w.dialect.enter(ctx)
	jobs := w.gather(first)
	if err == nil {
		defer w.dialect.leave()
	}
	if swept := w.sweeper.job(); swept != nil {
		jobs = append(jobs, swept)
		defer func() { w.sweeper.done(swept.err) }()
	}
	n := needsOf(jobs, w.known)
	if err == nil {
		err = w.begin(ctx, n)
	}
	w.running.Lock()
	defer w.running.Unlock()
	jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.taken.Swap(true) })
	for tries := 0; err == nil && len(jobs) > 0; tries++ {
		var again []*job
		again, err = w.attempt(jobs, n, tries)
		if err != nil || len(again) == 0 {
			break
		}
		jobs = again
		err = w.begin(ctx, n)
	}
	if w.session != nil { // every caller gave up
		w.rollback()
	}
	if err != nil {
		finish(jobs, w.notStored(err))
	}
}

// needsOf puts together what jobs need.
func needsOf(jobs []*job, known *known) *needs {
	n := &needs{}
	for _, j := range jobs {
		n.add(j.locks...)
		for i := range j.batches {
			b := &j.batches[i]
			n.batches = append(n.batches, b)
			n.add(partitionLock(b.Topic, b.Partition))
			if t := known.topic(b.Topic); t != nil && t.whole() {
				n.add(topicLock(b.Topic))
			}
		}
	}
	return n
}

// add adds the locks that are not there yet, and keeps their order.
func (n *needs) add(locks ...lock) {
	for _, l := range locks {
		if i, found := slices.BinarySearchFunc(n.locks, l, lock.compare); !found {
			n.locks = slices.Insert(n.locks, i, l)
		}
	}
}

// holds reports whether a lock is among those of n.
func (n *needs) holds(l lock) bool {
	_, found := slices.BinarySearchFunc(n.locks, l, lock.compare)
	return found
}

func (l lock) compare(o lock) int {
	return cmp.Or(cmp.Compare(l.kind, o.kind), cmp.Compare(l.name, o.name),
		cmp.Compare(l.partition, o.partition), cmp.Compare(l.id, o.id))
}

// unlocked is the error of a job that found out that it needs further locks.
type unlocked struct{ locks []lock }

func (*unlocked) Error() string { return "a lock is missing" }

// gather takes from the queues what is urgent, first, and what is queued, up to the
// bound of a transaction.
func (w *writer) gather(first *job) []*job {
	var jobs []*job
	for range len(w.urgent) {
		jobs = append(jobs, <-w.urgent)
	}
	events := 0
	for j := first; ; {
		if !j.taken.Load() {
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

// begin begins a transaction with what is known from the one before, as far as that
// still holds.
func (w *writer) begin(ctx context.Context, n *needs) (err error) {
	w.session, w.known, err = w.dialect.begin(ctx, n, w.known)
	return err
}

// attempt runs the jobs in the transaction that was begun and ends it. Jobs to run
// again are returned when one of them spoiled the transaction; an error says that
// none of the jobs that are not finished can be stored.
func (w *writer) attempt(jobs []*job, n *needs, tries int) (again []*job, err error) {
	t := newTx(w.session, w.known, n, w.kept)
	bad, err := w.run(t, jobs)
	if err != nil {
		w.rollback()
		return w.spoiled(jobs, bad, err, n, tries)
	}
	w.running.Unlock() // no job runs any more, and the disk may take its time
	err = w.dialect.commit(w.session)
	w.running.Lock()
	if err != nil {
		w.rollback()
		_, explained := w.dialect.explain(err)
		finish(jobs, fmt.Errorf("commit: %w", explained))
		return nil, nil
	}
	w.end(false)
	w.after(t)
	finish(jobs, nil)
	return nil, nil
}

// spoiled says which jobs run again after one has spoiled their transaction.
func (w *writer) spoiled(jobs []*job, bad *job, err error, n *needs, tries int) (again []*job, _ error) {
	var u *unlocked
	if errors.As(err, &u) {
		n.add(u.locks...)
		return jobs, nil
	}
	who, explained := w.dialect.explain(err)
	if who == noJob && tries < retries {
		return jobs, nil
	}
	if bad == nil || who != oneJob {
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

// rollback ends what is left of a transaction: some errors have done so already.
// What it had found out may be about rows that are not there any more.
func (w *writer) rollback() {
	_, err := w.session.exec("ROLLBACK")
	w.known = nil
	w.end(err != nil)
}

// end gives back what the transaction had.
func (w *writer) end(failed bool) {
	w.dialect.end(w.session, failed)
	w.session = nil
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
	_, explained := w.dialect.explain(err)
	if refused(explained) {
		return explained
	}
	return fmt.Errorf("%w: %w", driver.ErrNotStored, explained)
}

// refused reports whether a job decided not to write, as opposed to a database
// that failed to.
func refused(err error) bool {
	for _, s := range [...]error{
		driver.ErrClosed, driver.ErrNotFound, driver.ErrFenced, driver.ErrGap, driver.ErrRefused,
		driver.ErrNotStored, driver.ErrBusy, driver.ErrFull, driver.ErrConflict,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}
