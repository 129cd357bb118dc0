package cli

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// benchStall is how long no event may be handled while some are under way.
	benchStall = 30 * time.Second
	// benchLate is how much longer than asked a round at a rate may go on publishing.
	benchLate = time.Second
	// benchWake is how many handled events make publishers look for room again: doing
	// so for each would be the largest cost of all.
	benchWake = 256
)

// benchRound is a part of a benchmark that begins and ends with nothing under way.
type benchRound struct {
	*benchmark
	events int64         // 0 means as many as the time allows
	until  time.Duration // 0 means as long as the events take

	start     time.Duration // since benchmark.started, as all times here
	before    int64         // handled in former rounds
	published atomic.Int64  // given to Publish
	last      atomic.Int64  // when an event was handled last, to benchWake events
	calls     histogram

	mu   sync.Mutex
	room *sync.Cond // something was handled, or the round ends
	next int64      // the number of the next event
}

func newBenchRound(b *benchmark, events int64, length time.Duration) *benchRound {
	r := &benchRound{benchmark: b, events: events, before: b.handled.Load(), start: time.Since(b.started)}
	r.room = sync.NewCond(&r.mu)
	if length > 0 {
		r.until = r.start + length
	}
	if due := int64(math.Ceil(float64(b.flags.rate) * length.Seconds())); due > 0 {
		r.until += benchLate
		if events == 0 || due < events {
			r.events = due
		}
	}
	b.round.Store(r)
	return r
}

// run publishes and returns when all was handled.
func (r *benchRound) run(ctx context.Context, what string) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	context.AfterFunc(ctx, r.wake)
	var publishers sync.WaitGroup
	var ended atomic.Int64
	accepted := make(chan struct{}) // closed when the last publisher has ended
	for range r.flags.publishers {
		publishers.Go(func() {
			if err := r.publish(ctx); err != nil {
				stop(err)
			}
			if ended.Add(1) == int64(r.flags.publishers) {
				close(accepted)
			}
		})
	}
	err := r.await(ctx, what, accepted)
	stop(err)
	publishers.Wait()
	return err
}

// publish makes one call after the other.
func (r *benchRound) publish(ctx context.Context) error {
	clock := func(int64) time.Duration { return time.Since(r.started) }
	if r.flags.rate > 0 {
		clock = r.due
	}
	for {
		first, n := r.take(ctx)
		if n == 0 {
			return nil
		}
		drafts := r.drafts(first, n, clock)
		began := time.Now()
		if err := r.bus.Publish(ctx, drafts...); err != nil {
			return err
		}
		r.calls.add(time.Since(began))
	}
}

// take returns the numbers of the events to be published next; none means that the
// round is over.
func (r *benchRound) take(ctx context.Context) (first int64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := int64(r.flags.batch)
	if r.flags.rate > 0 {
		// Who waits for the time has the lock, and the others wait for that.
		if pauseUntil(ctx, r.started.Add(r.due(r.next))) != nil {
			return 0, 0
		}
		late := time.Since(r.started) - r.due(r.next)
		most = min(most, 1+int64(late.Seconds()*float64(r.flags.rate)))
	} else {
		for r.next-(r.handled.Load()-r.before) >= benchUnderWay && ctx.Err() == nil {
			r.room.Wait()
		}
	}
	if r.events > 0 {
		most = min(most, r.events-r.next)
	}
	if ctx.Err() != nil || r.until > 0 && time.Since(r.started) >= r.until {
		return 0, 0
	}
	first = r.next
	r.next += most
	r.published.Add(most)
	return first, int(most)
}

// due is when an event comes at the rate.
func (r *benchRound) due(number int64) time.Duration {
	return r.start + time.Duration(float64(number)/float64(r.flags.rate)*float64(time.Second))
}

// counted is told of every event that was handled, with how many there were.
func (r *benchRound) counted(handled int64, now time.Duration) {
	if n := handled - r.before; n%benchWake == 0 || n >= r.published.Load() {
		r.last.Store(int64(now))
		if r.flags.rate == 0 { // else nobody waits for room, and who waits for the time has the lock
			r.wake()
		}
	}
}

func (r *benchRound) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.room.Broadcast()
}

// took is how long the round lasted.
func (r *benchRound) took() time.Duration { return time.Duration(r.last.Load()) - r.start }

// await shows the progress until everything that was published has been handled.
func (r *benchRound) await(ctx context.Context, what string, accepted <-chan struct{}) error {
	total := r.events
	if total == 0 {
		what, total = what+", seconds", int64(math.Ceil((r.until - r.start).Seconds()))
	}
	shown := r.app.count(what, total)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	seen, moved := int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			shown.done(false)
			return context.Cause(ctx)
		case <-tick.C:
		}
		published, handled := r.published.Load(), r.handled.Load()-r.before
		select {
		case <-accepted:
			if handled >= published {
				shown.done(true)
				return nil
			}
		default:
		}
		if handled > seen || handled >= published {
			seen, moved = handled, time.Now()
		}
		if time.Since(moved) > benchStall {
			shown.done(false)
			return fmt.Errorf("%s of %s were handled, and none for %s", comma(handled), plural(published, "event"),
				span(benchStall))
		}
		done := handled
		if r.events == 0 {
			done = int64((time.Since(r.started) - r.start).Seconds())
		}
		shown.set(done, what+": "+plural(handled, "event")+" handled")
	}
}

// pauseUntil returns at a time, or with an error when ctx ends before.
func pauseUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
