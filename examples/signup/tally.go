package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed"
)

// tally counts what the groups have handled, so that the session knows when all is
// done. A service that runs for ever needs no such thing.
type tally struct {
	mu      sync.Mutex
	handled map[string]int
	changed chan struct{} // closed at the next change
}

func newTally() *tally {
	return &tally{handled: make(map[string]int), changed: make(chan struct{})}
}

// [middleware]

// middleware wraps every handler of the bus: it sees each event before the handler
// and the verdict after it.
func (t *tally) middleware(next deed.HandlerFunc) deed.HandlerFunc {
	return func(ctx context.Context, e deed.Received[[]byte]) error {
		err := next(ctx, e)
		if err == nil {
			t.add(e.Group)
		}
		return err
	}
}

// [middleware]

func (t *tally) add(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handled[group]++
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait returns when each of the groups has handled n events, and fails when nothing
// is handled any more.
func (t *tally) wait(ctx context.Context, n int, groups ...string) error {
	for {
		t.mu.Lock()
		missing, changed := "", t.changed
		for _, group := range groups {
			if t.handled[group] < n {
				missing = fmt.Sprintf("group %s has handled %d events out of %d", group, t.handled[group], n)
			}
		}
		t.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(patience):
			return fmt.Errorf("%s, and nothing for %v", missing, patience)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", missing, context.Cause(ctx))
		}
	}
}

const patience = 30 * time.Second
