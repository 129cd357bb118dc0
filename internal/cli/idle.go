package cli

import (
	"context"
	"time"
)

// stopWhenIdle calls stop after d without an event. Last says when the last event was
// done with, or that one is being handled. While a partition with events belongs to a
// dead member, they are still to come, and so they are for a moment after somebody
// has taken the partition over: then d starts again.
func stopWhenIdle(
	ctx context.Context, d time.Duration, last func() (at time.Time, busy bool), orphaned func() bool, stop func(),
) {
	since := time.Now()
	for {
		rest := d
		if at, busy := last(); !busy {
			if at.After(since) {
				since = at
			}
			rest = d - time.Since(since)
		}
		if rest <= 0 {
			if !orphaned() {
				stop()
				return
			}
			since, rest = time.Now(), d
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return
		}
	}
}
