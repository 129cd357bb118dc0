package deed

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/deedgo/deed/driver"
)

// sweepEvery is about how often a member lets the engine remove what a topic's
// retention no longer asks for.
const sweepEvery = time.Minute

// sweepLoop runs a topic's retention until ctx ends. Every member does it, at times
// of its own: what one has removed costs the next a look.
func (t *topicRun) sweepLoop(ctx context.Context) {
	sweeper, ok := driver.As[driver.Sweeper](t.g.bus.conn)
	if !ok {
		return
	}
	for {
		select {
		case <-time.After(sweepEvery/2 + rand.N(sweepEvery)):
		case <-ctx.Done():
			return
		}
		removed, err := sweeper.Sweep(ctx, t.name)
		switch {
		case err != nil && ctx.Err() == nil:
			t.log.Warn("deed: removing old events failed, trying again", "error", err)
		case removed > 0:
			t.log.Debug("deed: old events were removed", "events", removed)
		}
	}
}

// makeRoom removes what a full topic no longer has to keep and reports whether that
// was anything.
func (b *Bus) makeRoom(ctx context.Context, topic string) bool {
	sweeper, ok := driver.As[driver.Sweeper](b.conn)
	if !ok {
		return false
	}
	removed, err := sweeper.Sweep(ctx, topic)
	return err == nil && removed > 0
}
