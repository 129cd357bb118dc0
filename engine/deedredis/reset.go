package deedredis

import (
	"context"
	"strconv"

	"github.com/deedgo/deed/driver"
)

// ResetGroup implements [driver.Resetter]. Each partition is set in one step, under a
// new epoch. On a cluster they lie on several servers: when one of these cannot be
// reached the others are set already, and the reset has to be repeated.
func (c *Conn) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("reset group "+group+" on "+topic, c.reset(ctx, group, topic, r))
}

func (c *Conn) reset(ctx context.Context, group, topic string, r driver.Reset) error {
	t, err := c.findGroup(ctx, group, topic)
	if err != nil {
		return err
	}
	if !r.Fence {
		if err := c.idle(ctx, group, topic, "stop them, or fence them"); err != nil {
			return err
		}
	}
	calls, err := c.starts(t, group, r.To)
	if err != nil {
		return err
	}
	if err := c.within(ctx, t, r.To); err != nil {
		return err
	}
	key := c.keys.group(topic, group)
	run, err := c.client.Do(ctx, c.client.B().Hincrby().Key(key).Field("run").Increment(1).Build()).AsInt64()
	if err != nil {
		return err
	}
	for i := range calls {
		calls[i].args = append(calls[i].args, strconv.FormatInt(run, 10), flag(r.Quiet))
	}
	if err := c.begin(ctx, calls); err != nil {
		return err
	}
	c.announce(ctx, topic)
	return nil
}

// within refuses a cursor that is behind the end of a log, before anything is set.
func (c *Conn) within(ctx context.Context, t *topic, from driver.From) error {
	if len(from.Cursor) == 0 {
		return nil
	}
	ends, err := c.ends(ctx, t)
	if err != nil {
		return err
	}
	for p, text := range from.Cursor {
		at, err := parsePosition(text)
		if err != nil {
			return err
		}
		if at.compare(ends[p]) > 0 {
			return beyond(p, ends[p], at)
		}
	}
	return nil
}
