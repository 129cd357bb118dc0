package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/orders/analytics"
	"github.com/deedgo/deed/examples/orders/events"
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
	var before work
	moved := time.Now()
	for {
		left, err := openWork(ctx, bus)
		if err != nil {
			return err
		}
		var view analytics.Summary
		if _, err := call(ctx, http.MethodGet, s.url(analyticsService)+"/summary", "", nil, &view); err != nil {
			return err
		}
		left.outcomes = view.Confirmed + view.Cancelled
		shown.set(min(left.outcomes, o.Orders))
		if left.outcomes >= o.Orders && left.lag+left.parked == 0 {
			return nil
		}
		if left != before {
			before, moved = left, time.Now()
		}
		if time.Since(moved) > o.Patience {
			return fmt.Errorf("nothing has moved for %v: %d of %d orders have an outcome, lag %d, parked %d",
				o.Patience, left.outcomes, o.Orders, left.lag, left.parked)
		}
		pause(ctx, lookEvery)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// look opens the bus only to look at it, and in silence.
func look(ctx context.Context, o Options) (*deed.Bus, error) {
	return engine.Open(ctx, o.Bus, &deed.Options{NoCreate: true, State: o.State, Logger: slog.New(slog.DiscardHandler)})
}

// unused refuses a bus that has served already, as makeDir does a folder.
func unused(ctx context.Context, o Options) error {
	bus, err := look(ctx, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer bus.Close()
	topics, ok := driver.As[driver.Topics](bus.Conn())
	if !ok { // then it keeps no groups either, and says what each of the services would be told
		nothing := func(context.Context, deed.Received[[]byte]) error { return nil }
		return bus.Run(ctx, deed.Subscribe("inventory", nil, deed.OnAny(events.Orders, nothing)))
	}
	for _, t := range []*deed.Topic{events.Orders, events.Stock, events.Tills} {
		if _, err := topics.Topic(ctx, t.Name()); !errors.Is(err, driver.ErrNotFound) {
			return errors.Join(err, fmt.Errorf("orders: the bus has a topic %s already (deed topics rm %s removes it, "+
				"or name another bus, on Redis by ?prefix=NAME)", t.Name(), t.Name()))
		}
	}
	return nil
}

// work is what the groups of a bus have not done, and what they have.
type work struct {
	lag, parked, dead int
	outcomes          int // orders that the view knows the end of
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
	for _, l := range lags {
		w.lag += int(l.Events)
		w.parked += int(l.Parked)
		w.dead += int(l.Dead)
	}
	return w, nil
}
