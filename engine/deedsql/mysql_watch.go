package deedsql

import (
	"context"
	"time"
)

const (
	// How soon other processes' commits are noticed: while they come, and after a second
	// without any.
	mysqlPoll = 20 * time.Millisecond
	mysqlRest = 100 * time.Millisecond
)

// mysqlState changes with whatever others wait for: events, delayed ones, and what
// members of a group act on.
const mysqlState = "SELECT (SELECT concat_ws(' ', sum(position), sum(removed), sum(scheduled)) FROM deed_head), " +
	"(SELECT concat_ws(' ', count(*), sum(changes)) FROM deed_group), " + mysqlNow

// watch implements [dialect]: MySQL tells nobody of a commit, so that it asks.
func (d *mysqlDialect) watch(ctx context.Context, changed func()) error {
	timer := time.NewTimer(mysqlPoll)
	defer timer.Stop()
	type state struct{ events, groups string }
	var last state
	for active := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		var now state
		var micros int64
		err := d.db.QueryRowContext(ctx, d.sql(mysqlState)).Scan(&now.events, &now.groups, &micros)
		if err != nil {
			timer.Reset(mysqlRest) // the readers meet the same error and report it
			continue
		}
		d.clock.set(micros)
		if now != last {
			last, active = now, time.Now()
			changed()
		}
		timer.Reset(mysqlPoll)
		if time.Since(active) > time.Second {
			timer.Reset(mysqlRest)
		}
	}
}
