package sqldb_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed/sqldb"
)

func openLock(t *testing.T, path string) *sqldb.FileLock {
	t.Helper()
	l, err := sqldb.OpenFileLock(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // a second Close of one that a test closed fails, and may
	return l
}

func mustLock(t *testing.T, l *sqldb.FileLock, who string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Lock(ctx); err != nil {
		t.Fatalf("%s: %v", who, err)
	}
}

// abandon waits for a lock that somebody has, and gives up.
func abandon(t *testing.T, l *sqldb.FileLock) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a lock that somebody has: %v", err)
	}
}

// TestAbandonedLock gives up waiting: the lock must not stay with who does not want
// it any more, and may be wanted again.
func TestAbandonedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, b, c := openLock(t, path), openLock(t, path), openLock(t, path)
	mustLock(t, a, "the first")
	abandon(t, b)
	abandon(t, b) // joins the wait that is still under way
	a.Unlock()
	mustLock(t, c, "another, after the one that gave up")
	abandon(t, b)
	c.Unlock()
	mustLock(t, b, "the one that gave up")
	abandon(t, a)
	b.Unlock()
	mustLock(t, a, "the first again")
	a.Unlock()
}

// TestCloseAbandonedLock closes a lock whose wait is still under way.
func TestCloseAbandonedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a, b := openLock(t, path), openLock(t, path)
	mustLock(t, a, "the first")
	abandon(t, b)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	a.Unlock()
	for range 3 { // whatever the wait got is given back
		mustLock(t, a, "the first again")
		a.Unlock()
	}
}
