package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/orders/analytics"
)

const lookEvery = 50 * time.Millisecond

// waitQuiet waits until every order has its outcome in the view, which is the last
// to hear of it, and no group has anything left to do.
func waitQuiet(ctx context.Context, o Options, s *services) (err error) {
	bus, err := look(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	shown := newProgress(o.Out, "outcomes", o.Orders)
	defer shown.clear()
	deadline := time.Now().Add(o.Patience)
	for {
		var view analytics.Summary
		if _, err := call(ctx, http.MethodGet, s.url(analyticsService)+"/summary", "", nil, &view); err != nil {
			return err
		}
		shown.set(min(view.Confirmed+view.Cancelled, o.Orders))
		left, err := openWork(ctx, bus)
		if err != nil {
			return err
		}
		if view.Confirmed+view.Cancelled >= o.Orders && left.lag+left.parked == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %d of %d orders have an outcome, lag %d, parked %d",
				o.Patience, view.Confirmed+view.Cancelled, o.Orders, left.lag, left.parked)
		}
		pause(ctx, lookEvery)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// look opens the bus only to look at it, and in silence.
func look(ctx context.Context, o Options) (*deed.Bus, error) {
	return engine.Open(ctx, o.Bus, &deed.Options{NoCreate: true, Logger: slog.New(slog.DiscardHandler)})
}

// work is what the groups of a bus have not done.
type work struct {
	lag, parked, dead int
	groups            int
}

// openWork adds up all groups.
func openWork(ctx context.Context, bus *deed.Bus) (work, error) {
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if !ok {
		return work{}, fmt.Errorf("the engine %s cannot tell about groups", bus.Features().Engine)
	}
	lags, err := groups.Lag(ctx, "", "")
	if err != nil {
		return work{}, err
	}
	var w work
	seen := make(map[string]bool)
	for _, l := range lags {
		w.lag += int(l.Events)
		w.parked += int(l.Parked)
		w.dead += int(l.Dead)
		seen[l.Group] = true
	}
	w.groups = len(seen)
	return w, nil
}
