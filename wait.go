package deed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

const waitPause = 10 * time.Millisecond

// WaitFor returns when a group has passed a cursor of a topic, as Publish's receipt
// has it: so that whoever announced something reads his own writes in a view that
// the group keeps. An event that failed and is parked or dead counts as passed.
func (b *Bus) WaitFor(ctx context.Context, group, topic string, c Cursor) error {
	if err := b.waitFor(ctx, group, topic, c); err != nil {
		return fmt.Errorf("deed: wait: group %s, topic %s: %w", group, topic, err)
	}
	return nil
}

func (b *Bus) waitFor(ctx context.Context, group, topic string, c Cursor) error {
	want, err := c.parse()
	if err != nil {
		return err
	}
	groups, ok := driver.As[driver.Groups](b.conn)
	browser, ordered := driver.As[driver.Browser](b.conn)
	if !ok || !ordered {
		return fmt.Errorf("%s does not tell how far groups are: %w", b.features.Engine, errors.ErrUnsupported)
	}
	for {
		began := time.Now()
		rows, err := groups.Lag(ctx, group, topic)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("not passed yet: %s: %w", cursorOf(want), context.Cause(ctx))
		case err != nil:
			return err
		}
		for _, row := range rows {
			at, wanted := want[row.Partition]
			if !wanted || row.Position == "" {
				continue
			}
			order, err := browser.Compare(row.Position, at)
			if err != nil {
				return err
			}
			if order >= 0 {
				delete(want, row.Partition)
			}
		}
		if len(want) == 0 {
			return nil
		}
		select {
		case <-time.After(askPause(began, waitPause)):
		case <-ctx.Done(): // said above
		}
	}
}
