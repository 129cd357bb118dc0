package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// standing is what a group has still to do.
type standing struct {
	lag, parked, dead int
}

func (s standing) open() int { return s.lag + s.parked + s.dead }

// standings asks the engine about all groups.
func (d *demo) standings(ctx context.Context) (map[string]standing, error) {
	groups, ok := driver.As[driver.Groups](d.bus.Conn())
	if !ok {
		return nil, fmt.Errorf("the engine %s cannot tell about groups", d.bus.Features().Engine)
	}
	lags, err := groups.Lag(ctx, "", quakes.Name())
	if err != nil {
		return nil, err
	}
	all := make(map[string]standing)
	for _, l := range lags {
		s := all[l.Group]
		s.lag += int(l.Events)
		s.parked += int(l.Parked)
		s.dead += int(l.Dead)
		all[l.Group] = s
	}
	return all, nil
}

const (
	lookEvery = 20 * time.Millisecond
	patience  = 30 * time.Second
)

// runUntil runs the subscriptions until the groups stand as wanted, and lets them
// drain.
func (d *demo) runUntil(
	ctx context.Context, wanted func(map[string]standing) bool, subscriptions ...deed.Runner,
) error {
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		runErr = d.bus.Run(runCtx, subscriptions...)
		stop() // had it ended early, there would be nothing to wait for
	})
	err := d.waitUntil(runCtx, wanted)
	stop()
	running.Wait()
	return errors.Join(runErr, err)
}

// waitUntil looks again and again until the groups stand as wanted. It loses its
// patience only when nothing moves.
func (d *demo) waitUntil(ctx context.Context, wanted func(map[string]standing) bool) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var before map[string]standing
	moved := time.Now()
	for {
		standings, err := d.standings(ctx)
		if err != nil || wanted(standings) {
			return err
		}
		if !maps.Equal(standings, before) {
			before, moved = standings, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("nothing has moved for %v, the groups stand at %+v", patience, standings)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
