package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// probeEvery is how often the engine is asked whether it still has what it
// acknowledged, so that a loss shows though nothing new is published.
const probeEvery = 2 * time.Second

// remembers reports whether the engine outlives the bus, and can tell what it has: else
// a loss is neither known nor to be made good. An engine that promises no durability is
// a server that may be restarted too.
func (r *relay) remembers() bool {
	f := r.bus.Features()
	return f.Sequence && (f.Durability > deed.Memory || f.MultiProcess)
}

// probe asks until ctx ends.
func (r *relay) probe(ctx context.Context) {
	if !r.remembers() {
		return
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.ask(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("outbox: looking for losses failed", "error", err)
		}
	}
}

// ask asks about every partition that something was sent to, and rewinds those that
// have lost some of it. Its error is the database's.
func (r *relay) ask(ctx context.Context) error {
	var places []place
	var runs []deed.Sequenced
	r.mu.Lock()
	for at, s := range r.sentTo {
		if mainLane.open(&r.troubles, at) { // else it is being seen to
			places, runs = append(places, at), append(runs, s)
		}
	}
	r.mu.Unlock()
	if len(runs) == 0 {
		return nil
	}
	callCtx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	unsure := false
	for i, err := range r.bus.PublishSequenced(callCtx, runs) {
		switch {
		case err == nil:
		case errors.Is(err, driver.ErrGap), errors.Is(err, driver.ErrNotFound) && errors.Is(err, driver.ErrLost):
			if err := r.rewind(ctx, places[i]); err != nil {
				return err
			}
		case errors.Is(err, driver.ErrNotFound):
			r.forget(places[i].topic)
		default:
			unsure = true
		}
	}
	r.unsure.Store(unsure)
	return nil
}

// forget gives up asking about a topic that was deleted.
func (r *relay) forget(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at := range r.sentTo {
		if at.topic == topic {
			delete(r.sentTo, at)
		}
	}
}
