package sqldb

import "context"

// queue is where transactions wait for the right to write: first those of one DB, in
// order, then one of each process on a FileLock.
type queue struct {
	slot   chan struct{}
	looked bool      // for the file; guarded by the slot
	file   *FileLock // nil when there is none to lock
}

func newQueue() *queue { return &queue{slot: make(chan struct{}, 1)} }

// enter waits for the right to write; leave gives it back. Path names the database; it
// is asked for once, and "" is one in memory.
func (q *queue) enter(ctx context.Context, path func() string) error {
	select {
	case q.slot <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !q.looked {
		q.looked = true
		if p := path(); p != "" {
			q.file, _ = OpenFileLock(p) // without it writers wait in SQLite alone
		}
	}
	if q.file == nil {
		return nil
	}
	if err := q.file.Lock(ctx); err != nil {
		<-q.slot
		return err
	}
	return nil
}

func (q *queue) leave() {
	if q.file != nil {
		q.file.Unlock()
	}
	<-q.slot
}

// close gives the file back. The next enter looks for it again.
func (q *queue) close() error {
	q.slot <- struct{}{}
	defer func() { <-q.slot }()
	file := q.file
	q.looked, q.file = false, nil
	if file == nil {
		return nil
	}
	return file.Close()
}
