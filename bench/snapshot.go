package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/deedgo/deed"
)

const (
	snapshotTurns = 6
	snapshotChunk = 8192 // events between looks at the clock
)

// checkSnapshot fails when a server with a snapshot that stays open is much slower under
// full load than one without. Each is loaded for s.snapshot, in turns.
func checkSnapshot(ctx context.Context, s *settings, dir string) error {
	plain, held, err := startPair(ctx, s, dir)
	if err != nil {
		return err
	}
	err = compareSnapshot(ctx, s, plain, held)
	return errors.Join(err, plain.stop(), held.stop())
}

func compareSnapshot(ctx context.Context, s *settings, plain, held *contender) error {
	all := []*compared{{what: "published and handled a second"}}
	var loads []*load
	for _, c := range []*contender{plain, held} {
		l, err := c.load(ctx)
		if err != nil {
			return err
		}
		defer l.stop()
		loads = append(loads, l)
	}
	open, err := held.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return err
	}
	defer open.Rollback() //nolint:errcheck // it has written nothing
	var there int
	if err := open.QueryRowContext(ctx, "select count(*) from deed_topic").Scan(&there); err != nil {
		return err
	}
	for turn := range snapshotTurns {
		for i, l := range loads {
			fmt.Fprintf(os.Stderr, "turn %d of %d\n", turn+1, snapshotTurns)
			rate, err := l.runFor(ctx, s.snapshot/snapshotTurns)
			if err != nil {
				return err
			}
			if i == 0 {
				all[0].plain = append(all[0].plain, rate)
			} else {
				all[0].other = append(all[0].other, rate)
			}
		}
	}
	last := snapshotTurns - 1
	all = append(all, &compared{what: "the same in the last turn", plain: all[0].plain[last:], other: all[0].other[last:]})
	return judge(all, "no snapshot", fmt.Sprintf("a snapshot open for %v", s.snapshot))
}

// load is eight publishers and a group.
type load struct {
	loop *loop
	stop func()
}

func (c *contender) load(ctx context.Context) (*load, error) {
	l := &loop{request: request{Publishers: 8, Batch: 256}, feed: newFeed(), progress: make(chan struct{}, 1)}
	draft, on := codecNone.ends(deed.NewTopic("orders", nil), func([]byte) { l.count() })
	running, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.bus.Run(running, deed.Subscribe("bench", nil, on)); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err) // the loop finds that nothing is handled
		}
	})
	stop := func() {
		cancel()
		group.Wait()
	}
	if err := awaitGroup(ctx, c.bus, "bench"); err != nil {
		stop()
		return nil, err
	}
	l.publish = func(ctx context.Context, events []event) error {
		drafts := make([]deed.Draft, len(events))
		for i := range events {
			drafts[i] = draft(events[i])
		}
		return c.bus.Publish(ctx, drafts...)
	}
	return &load{l, stop}, l.run(ctx, snapshotChunk) // the first is not measured
}

// runFor publishes and handles for a time and returns the events a second.
func (l *load) runFor(ctx context.Context, d time.Duration) (float64, error) {
	began, events := time.Now(), 0
	for time.Since(began) < d {
		if err := l.loop.run(ctx, snapshotChunk); err != nil {
			return 0, err
		}
		events += snapshotChunk
	}
	return float64(events) / time.Since(began).Seconds(), nil
}
