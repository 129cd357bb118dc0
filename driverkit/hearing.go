package driverkit

import (
	"context"
	"time"
)

// Hearing is a connection on which an engine hears what is published.
type Hearing interface {
	// Wait returns why nothing is heard any more, or when ctx ends.
	Wait(ctx context.Context) error
	Close()
}

// The pauses between attempts to hear again.
const (
	hearPauseMin = 50 * time.Millisecond
	hearPauseMax = 2 * time.Second
)

// Keep connects again whenever the connection is over, and tells the subscriber how long
// it was. It returns when ctx ends, with the connection closed.
func (l *Listener) Keep(ctx context.Context, h Hearing, connect func(context.Context) (Hearing, error)) {
	for {
		err := h.Wait(ctx)
		h.Close()
		if ctx.Err() != nil {
			return
		}
		start := time.Now()
		l.Deaf(err)
		for pause := hearPauseMin; ; pause = min(2*pause, hearPauseMax) {
			if h, err = connect(ctx); err == nil {
				break
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
		l.Back(time.Since(start))
	}
}
