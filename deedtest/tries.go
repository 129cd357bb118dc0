package deedtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed"
)

// place is an event in a group.
type place struct {
	group, topic, position string
}

// try is the last that is known of an event that is not handled.
type try struct {
	attempt int
	began   time.Time // zero when the handler has returned
	err     error
}

// tries remembers what handlers are doing and why they failed, for Settle to say
// what it waits for. Middleware sees no batches, so nothing is known of those.
type tries struct {
	mu sync.Mutex
	of map[place]try
}

func (t *tries) note(next deed.HandlerFunc) deed.HandlerFunc {
	return func(ctx context.Context, e deed.Received[[]byte]) (err error) {
		at := place{e.Group, e.Topic, e.Position}
		t.set(at, try{attempt: e.Attempt, began: time.Now()})
		returned := false
		defer func() {
			switch {
			case !returned:
				t.set(at, try{attempt: e.Attempt, err: fmt.Errorf("it panicked")})
			case err != nil:
				t.set(at, try{attempt: e.Attempt, err: err})
			default:
				t.forget(at)
			}
		}()
		err = next(ctx, e)
		returned = true
		return err
	}
}

func (t *tries) set(at place, what try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[at] = what
}

func (t *tries) forget(at place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.of, at)
}

// says describes the last try of an event, "" when there was none.
func (t *tries) says(at place) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch last, ok := t.of[at]; {
	case !ok:
		return ""
	case last.err != nil:
		return fmt.Sprintf("attempt %d failed: %v", last.attempt, last.err)
	default:
		took := time.Since(last.began).Round(time.Millisecond)
		return fmt.Sprintf("attempt %d is with its handler for %v now", last.attempt, took)
	}
}
