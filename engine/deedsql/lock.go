package deedsql

import (
	"context"
	"fmt"
	"os"
)

// fileLock is a lock between processes on a file of its own: opening and closing
// the database's files outside of SQLite would drop SQLite's locks.
type fileLock struct {
	file *os.File
	got  chan error // what became of a lock that is being waited for
	wait bool       // a goroutine waits for the lock and will send on got
}

func openFileLock(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the lock file, on which writers queue: %w", err)
	}
	return &fileLock{file: f, got: make(chan error, 1)}, nil
}

// lock waits until no other process has the lock. The wait itself cannot be
// interrupted, so when ctx ends it goes on behind the caller's back: the next lock
// joins it, and close leaves it to end with the other process.
func (l *fileLock) lock(ctx context.Context) error {
	if !l.wait {
		ok, err := tryLockFile(l.file)
		if ok || err != nil {
			return err
		}
		l.wait = true
		go func() { l.got <- lockFile(l.file) }()
	}
	select {
	case err := <-l.got:
		l.wait = false
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *fileLock) unlock() {
	if err := unlockFile(l.file); err != nil {
		// Only a file that is not open can fail to be unlocked.
		panic(fmt.Sprintf("deedsql: unlock %s: %v", l.file.Name(), err))
	}
}

// close gives the file back. While another process keeps a waiting goroutine, the
// file stays open for it.
func (l *fileLock) close() error {
	if !l.wait {
		return l.file.Close()
	}
	go func() {
		<-l.got
		l.file.Close()
	}()
	return nil
}
