package sqldb

import (
	"context"
	"os"
	"path/filepath"
	"sync"
)

// queue is where transactions wait for the right to write: first those of one DB,
// in order, then one of each process on a lock file. SQLite itself has no queue, its
// waiters poll, and under load one of them can wait for seconds. The lock file is
// the database's with ".lock" behind it, which the SQL engine uses too. It is a file
// of its own because closing one of the database's would drop SQLite's own locks.
//
// What is written past the queue is safe all the same, only not in turn.
type queue struct {
	slot   chan struct{}
	looked bool     // for the file; guarded by the slot
	file   *os.File // nil when there is none to lock

	mu      sync.Mutex
	asked   bool       // a goroutine waits for the file
	waiting bool       // a transaction waits for that goroutine
	got     chan error // what it answers
}

func newQueue() *queue {
	return &queue{slot: make(chan struct{}, 1), got: make(chan error, 1)}
}

// enter waits for the right to write; leave gives it back. Path is asked for once.
func (q *queue) enter(ctx context.Context, path func() string) error {
	select {
	case q.slot <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !q.looked {
		q.looked = true
		q.file = openLock(path())
	}
	if err := q.lock(ctx); err != nil {
		<-q.slot
		return err
	}
	return nil
}

func (q *queue) leave() {
	if q.file != nil {
		unlockFile(q.file)
	}
	<-q.slot
}

// lock waits for the file. The system's wait cannot be interrupted: when ctx ends it
// goes on behind the caller's back, for the next transaction or to give the lock up.
func (q *queue) lock(ctx context.Context) error {
	if q.file == nil {
		return nil
	}
	q.mu.Lock()
	if !q.asked {
		if tryLockFile(q.file) {
			q.mu.Unlock()
			return nil
		}
		q.asked = true
		go q.acquire()
	}
	q.waiting = true
	q.mu.Unlock()
	select {
	case err := <-q.got:
		return err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = false
	select {
	case err := <-q.got: // just now
		if err == nil {
			unlockFile(q.file)
		}
	default:
	}
	return context.Cause(ctx)
}

func (q *queue) acquire() {
	err := lockFile(q.file)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = false
	if q.waiting {
		q.waiting = false
		q.got <- err
	} else if err == nil {
		unlockFile(q.file)
	}
}

// openLock opens the lock file of a database, or returns nil: for one in memory, and
// where a file cannot be made beside it.
func openLock(path string) *os.File {
	if path == "" {
		return nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // one lock, by whichever name the database is opened
	}
	f, err := os.OpenFile(path+".lock", os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil
	}
	return f
}
