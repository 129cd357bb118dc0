package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// inFlight bounds the events that are published and not handled, for every
	// system alike: some have no bound of their own, and would measure the allocator.
	inFlight = 32 << 10
	// stallAfter ends a sample in which nothing is handled any more.
	stallAfter = 30 * time.Second
)

// closedLoop publishes as fast as the system accepts and ends when everything was
// handled. The first events, a tenth, are not measured: files grow, topics are made,
// partitions claimed.
func closedLoop(ctx context.Context, r request) (sample, error) {
	sys := systemNamed(r.System)
	if sys == nil {
		return sample{}, fmt.Errorf("no system is called %q", r.System)
	}
	l := &loop{request: r, feed: newFeed(), progress: make(chan struct{}, 1)}
	s, err := sys.start(ctx, r.Dir, func([]byte) { l.count() })
	if err != nil {
		return sample{}, err
	}
	l.publish = s.publish
	if err := l.run(ctx, max(r.Events/10, r.Batch)); err != nil {
		return sample{}, err
	}
	m := startMeter(s)
	if err := l.run(ctx, r.Events); err != nil {
		return sample{}, err
	}
	out := m.read(r.Events)
	return out, s.stop()
}

// loop publishes events and counts them at the other end.
type loop struct {
	request  request
	feed     *feed
	publish  func(ctx context.Context, events []event) error
	progress chan struct{} // something was handled

	published atomic.Int64
	handled   atomic.Int64
}

// count is called for every event that is handled. It wakes those who wait for
// room now and then, since doing so each time would be the largest cost of all.
func (l *loop) count() {
	const often = 1024
	if n := l.handled.Add(1); n%often == 0 || n >= l.published.Load() {
		select {
		case l.progress <- struct{}{}:
		default:
		}
	}
}

// run publishes n more events and returns when they are handled.
func (l *loop) run(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batch := l.request.Batch
	first, goal := l.published.Load(), l.published.Load()+int64(n)
	var next atomic.Int64
	next.Store(first)
	room := make(chan struct{}, inFlight/batch) // a token for each batch in flight
	var publishers sync.WaitGroup
	for range l.request.Publishers {
		publishers.Go(func() {
			for {
				from := next.Add(int64(batch)) - int64(batch)
				if from >= goal {
					return
				}
				select {
				case room <- struct{}{}:
				case <-ctx.Done():
					return
				}
				events := l.feed.batch(int(from), int(min(int64(batch), goal-from)))
				l.published.Add(int64(len(events)))
				if err := l.publish(ctx, events); err != nil {
					cancel(fmt.Errorf("publish: %w", err))
					return
				}
			}
		})
	}
	err := l.await(ctx, first, goal, room)
	if err != nil {
		cancel(err)
	}
	publishers.Wait()
	return err
}

// await makes room for publishers as events are handled, until all of them are.
func (l *loop) await(ctx context.Context, first, goal int64, room chan struct{}) error {
	stalled := time.NewTimer(stallAfter)
	defer stalled.Stop()
	freed := int64(0)
	for {
		handled := l.handled.Load()
		if handled >= goal {
			return nil
		}
		for ; freed < (handled-first)/int64(l.request.Batch); freed++ {
			select {
			case <-room:
			default:
			}
		}
		select {
		case <-l.progress:
			stalled.Reset(stallAfter)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stalled.C:
			return errors.Join(fmt.Errorf("%s: %d of %d events were handled, and none for %v",
				l.request.System, handled-first, goal-first, stallAfter), ctx.Err())
		}
	}
}
