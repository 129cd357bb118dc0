package deed

import (
	"context"
	"errors"
	"sync"
)

// Runner is something that works on a bus until ctx ends: a [Subscription], an
// outbox's relay. It returns nil after a clean end.
type Runner interface {
	Run(ctx context.Context, b *Bus) error
}

// Run works until ctx ends, then drains: subscriptions stop fetching and let their
// handlers finish, at most for Options.Drain; then the other runners stop, so that
// an outbox's relay still sends what the last handlers wrote. It returns nil after
// a clean drain, and an error when a runner cannot go on, after draining the others.
func (b *Bus) Run(ctx context.Context, runners ...Runner) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lastCtx, stopLast := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLast()

	var first, last sync.WaitGroup
	errs := make([]error, len(runners))
	for i, r := range runners {
		group, runCtx := &last, lastCtx
		if _, ok := r.(*Subscription); ok {
			group, runCtx = &first, ctx
		}
		group.Go(func() {
			if errs[i] = r.Run(runCtx, b); errs[i] != nil {
				stop()
			}
		})
	}
	context.AfterFunc(ctx, func() {
		first.Wait()
		stopLast()
	})
	first.Wait()
	last.Wait()
	return errors.Join(errs...)
}
