package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// findIntake finds out whether the bus lives in the outbox's database and takes events
// there.
func (o *Outbox) findIntake(ctx context.Context) error {
	if o.opts.Bus == nil {
		return nil
	}
	intake, ok := driver.As[driver.Intake](o.opts.Bus.Conn())
	if !ok {
		return nil
	}
	hosts, err := intake.Hosts(ctx, o.db.SQL(), string(o.db.Dialect()))
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if hosts {
		o.intake = intake
	}
	return nil
}

// intakeNow returns where events go within the transaction, nil when they do not.
func (o *Outbox) intakeNow() driver.Intake {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.intake
}

// publishFile appends drafts to the log of a bus in the same file and reports whether it
// did. While the table has rows that are not sent they would be overtaken, and a topic that
// is absent cannot be created while tx is the only writer: then it does nothing.
func (o *Outbox) publishFile(ctx context.Context, tx sqldb.Execer, drafts []deed.Draft) (bool, error) {
	asked, ok := tx.(interface {
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	})
	if !ok {
		return false, nil
	}
	var unsent bool
	err := asked.QueryRowContext(ctx, "select exists (select 1 from deed_outbox where state = 'new') or "+
		"exists (select 1 from deed_outbox where state = 'stamped')").Scan(&unsent)
	if err == nil && !unsent {
		err = o.opts.Bus.PublishIn(ctx, tx, o.source, drafts...)
	}
	if errors.Is(err, driver.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("outbox: %w", err)
	}
	return !unsent, nil
}

// publishIn puts drafts into the bus as part of tx. A topic that is absent is created
// beside it.
func (o *Outbox) publishIn(ctx context.Context, tx sqldb.Execer, drafts []deed.Draft) error {
	bus := o.opts.Bus
	for tries := 0; ; tries++ {
		err := bus.PublishIn(ctx, tx, o.source, drafts...)
		if err == nil {
			return nil
		}
		if tries > 0 || !errors.Is(err, driver.ErrNotFound) {
			return fmt.Errorf("outbox: %w", err)
		}
		for i := range drafts {
			if _, err := bus.Partition(ctx, drafts[i].Topic(), drafts[i].Event); err != nil {
				return fmt.Errorf("outbox: publish %s: %w", drafts[i].Type, err)
			}
		}
	}
}

// sequence gives positions to what transactions have put into the bus.
func (r *relay) sequence(ctx context.Context, intake driver.Intake, stop context.CancelCauseFunc) {
	var delay time.Duration
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		more, err := intake.Sequence(ctx)
		if !r.pause(ctx, &delay, err, stop) || more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-r.committed:
		}
	}
}

// sequenceLast gives positions to what was committed before the end.
func (r *relay) sequenceLast(ctx context.Context, intake driver.Intake) error {
	for {
		if more, err := intake.Sequence(ctx); err != nil || !more {
			return err
		}
	}
}
