package sqldb

import (
	"context"
	"os"
	"path/filepath"
	"sync"
)

// FileLock is what writers of one SQLite database queue on, one of each process: a
// file of its own, the database's with ".lock" behind it. SQLite itself has no queue,
// its waiters poll, and under load one of them can wait for seconds; closing a file of
// the database's own would drop SQLite's locks.
//
// One goroutine at a time may use a FileLock. What is written past it is safe all the
// same, only not in turn.
type FileLock struct {
	file *os.File
	got  chan error // what a wait ended with

	mu      sync.Mutex
	asked   bool // a goroutine waits for the file
	waiting bool // Lock waits for that goroutine
	closed  bool
}

// OpenFileLock opens the lock file of the database at path, and makes it if it must.
func OpenFileLock(path string) (*FileLock, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real // one lock, by whichever name the database is opened
	}
	f, err := os.OpenFile(abs+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &FileLock{file: f, got: make(chan error, 1)}, nil
}

// Lock waits until no other process has the lock, or ctx ends. The system's wait
// cannot be interrupted: when ctx ends it goes on behind the caller's back, for the
// next Lock, or to give the lock up at once.
func (l *FileLock) Lock(ctx context.Context) error {
	l.mu.Lock()
	if !l.asked {
		if ok, err := tryLockFile(l.file); ok || err != nil {
			l.mu.Unlock()
			return err
		}
		l.asked = true
		go l.acquire()
	}
	l.waiting = true
	l.mu.Unlock()
	select {
	case err := <-l.got:
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
	select {
	case err := <-l.got: // just now
		if err == nil {
			unlockFile(l.file)
		}
	default:
	}
	return context.Cause(ctx)
}

// acquire waits for the file and hands the lock to whoever still wants it.
func (l *FileLock) acquire() {
	err := lockFile(l.file)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = false
	switch {
	case l.waiting:
		l.waiting = false
		l.got <- err
	case l.closed:
		l.file.Close()
	case err == nil:
		unlockFile(l.file)
	}
}

// Unlock gives the lock back.
func (l *FileLock) Unlock() { unlockFile(l.file) }

// Close gives the file back. While another process has the lock that an abandoned
// wait is for, the file stays open for it.
func (l *FileLock) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.asked {
		return nil
	}
	return l.file.Close()
}
