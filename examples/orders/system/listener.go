package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/orders/edge"
	"github.com/deedgo/deed/examples/orders/events"
)

// listener reads along on a bus that cannot be read afterwards, as a group of its own.
type listener struct {
	bus   *deed.Bus
	stop  context.CancelFunc
	ended chan error

	mu   sync.Mutex
	seen map[string]bool // ids: what a killed publisher sent twice is one event
	all  map[string]map[string]int
}

// startListener reads along if it has to, else it returns nil.
func startListener(ctx context.Context, o Options) (*listener, error) {
	opts := &deed.Options{Source: "/auditor", State: o.State, Lease: o.Lease, Logger: slog.New(slog.DiscardHandler)}
	bus, err := engine.Open(ctx, o.Bus, opts)
	if err != nil {
		return nil, err
	}
	if bus.Features().Browse {
		return nil, bus.Close()
	}
	l := &listener{
		bus: bus, ended: make(chan error, 1), seen: make(map[string]bool), all: make(map[string]map[string]int),
	}
	ctx, l.stop = context.WithCancel(ctx)
	sub := deed.Subscribe("auditor", nil, deed.OnAny(events.Orders, l.note), deed.OnAny(events.Stock, l.note))
	go func() { l.ended <- bus.Run(ctx, sub) }()
	return l, nil
}

func (l *listener) note(_ context.Context, e deed.Received[[]byte]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.seen[e.ID] {
		l.seen[e.ID] = true
		if l.all[e.Type] == nil {
			l.all[e.Type] = make(map[string]int)
		}
		l.all[e.Type][e.Key]++
	}
	return nil
}

// close stops to read, and returns how often there was an event by type and order.
func (l *listener) close() (map[string]map[string]int, error) {
	l.stop()
	err := errors.Join(<-l.ended, l.bus.Close())
	return l.all, err
}

// awaitGroups waits until every service has its group, where a group gets only what comes
// after it: customers that are quicker would order from nobody.
func awaitGroups(ctx context.Context, o Options) error {
	bus, err := look(ctx, o)
	if err != nil {
		return err
	}
	defer bus.Close()
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if bus.Features().Backlog || !ok {
		return nil
	}
	wanted := slices.Clone(allServices)
	if o.Broker != "" {
		wanted = append(wanted, edge.Group(o.bridge))
	}
	for deadline := time.Now().Add(o.Patience); ; {
		there, err := groups.Groups(ctx)
		missing := slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
			return slices.ContainsFunc(there, func(g driver.GroupInfo) bool { return g.Group == name })
		})
		switch {
		case err == nil && len(missing) == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return errors.Join(err, fmt.Errorf("no groups of %v after %v", missing, o.Patience))
		}
		pause(ctx, lookEvery)
	}
}
