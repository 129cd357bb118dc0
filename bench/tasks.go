package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// The steps that are no measurement of speed.
const (
	taskFill     = "fill"      // publish events that nobody handles yet
	taskFillKeys = "fill-keys" // the same with a key for each, and one more for every bad key
	taskDrain    = "drain"     // handle everything
	taskPark     = "park"      // handle everything but for the bad keys' events
)

// doTask takes a step on the database in r.Dir.
func doTask(ctx context.Context, r request) (sample, error) {
	bus, err := openBus(ctx, "sqlite:"+filepath.Join(r.Dir, "deed.db"), "")
	if err != nil {
		return sample{}, err
	}
	switch r.Task {
	case taskFill:
		feed := newFeed()
		err = fill(ctx, bus, r.Events, func(first, n int) []event { return feed.batch(first, n) })
	case taskFillKeys:
		feed := newFeed()
		keyed := func(every int) func(first, n int) []event {
			return func(first, n int) []event {
				events := feed.batch(first, n)
				for i := range events {
					number := (first + i) * every
					events[i].key = "key-" + strconv.Itoa(number)
					events[i].data = append([]byte{isBad(number)}, events[i].data[1:]...)
				}
				return events
			}
		}
		err = errors.Join(fill(ctx, bus, r.Events, keyed(1)), fill(ctx, bus, r.Events/oneInBad, keyed(oneInBad)))
	case taskDrain, taskPark:
		out, err := consume(ctx, bus, r)
		return out, errors.Join(err, bus.Close())
	default:
		err = fmt.Errorf("no task is called %q", r.Task)
	}
	return sample{Events: r.Events}, errors.Join(err, bus.Close())
}

// isBad marks the events that are never handled.
func isBad(number int) byte {
	if number%oneInBad == 0 {
		return 1
	}
	return 0
}

// fill publishes n events.
func fill(ctx context.Context, bus *deed.Bus, n int, batch func(first, n int) []event) error {
	const publishers, size = 4, 1024
	draft, _ := codecNone.ends(deed.NewTopic("orders", nil), nil)
	var next atomic.Int64
	var filling sync.WaitGroup
	errs := make([]error, publishers)
	for p := range publishers {
		filling.Go(func() {
			for errs[p] == nil {
				first := int(next.Add(size)) - size
				if first >= n {
					return
				}
				events := batch(first, min(size, n-first))
				drafts := make([]deed.Draft, len(events))
				for i := range events {
					drafts[i] = draft(events[i])
				}
				errs[p] = bus.Publish(ctx, drafts...)
			}
		})
	}
	filling.Wait()
	return errors.Join(errs...)
}

var errBad = errors.New("this event cannot be handled")

// consume runs a group until it has nothing left to do, and counts.
func consume(ctx context.Context, bus *deed.Bus, r request) (sample, error) {
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if !ok {
		return sample{}, errors.New("the engine tells nothing of its groups")
	}
	var handled atomic.Int64
	t := deed.NewTypeCodec(deed.NewTopic("orders", nil), "orders.created", 1,
		func(m plain) string { return m.key }, rawCodec{})
	sub := deed.Subscribe("bench", nil, deed.On(t, func(_ context.Context, e deed.Received[plain]) error {
		if r.Task == taskPark && e.Data.data[0] == 1 {
			return deed.Reject(errBad)
		}
		handled.Add(1)
		return nil
	}))
	m := startMeter(&started{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		defer cancel()
		runErr = bus.Run(ctx, sub)
	})
	err := awaitCalm(ctx, groups, "bench")
	cancel()
	running.Wait()
	if err = errors.Join(err, runErr); err != nil {
		return sample{}, err
	}
	out := m.read(r.Events)
	out.Count, err = standing(context.WithoutCancel(ctx), groups, "bench")
	out.Count["handled"] = int(handled.Load())
	return out, err
}

// awaitCalm returns when the group has passed every event.
func awaitCalm(ctx context.Context, groups driver.Groups, group string) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now, err := standing(ctx, groups, group)
		if err != nil {
			return err
		}
		if now["partitions"] > 0 && now["lag"] == 0 {
			return nil
		}
	}
}

// standing sums up how far a group is.
func standing(ctx context.Context, groups driver.Groups, group string) (map[string]int, error) {
	lags, err := groups.Lag(ctx, group, "")
	sum := map[string]int{"partitions": len(lags)}
	for _, l := range lags {
		sum["lag"] += int(l.Events)
		sum["dead"] += int(l.Dead)
		sum["parked"] += int(l.Parked)
	}
	return sum, err
}
