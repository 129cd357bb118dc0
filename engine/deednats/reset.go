package deednats

import (
	"context"

	"github.com/deedgo/deed/driver"
)

// ResetGroup implements [driver.Resetter]. Each partition is set in one step, under a
// new epoch. When the server cannot be reached in the middle of it some are set already,
// and the reset has to be repeated.
func (c *Conn) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("reset group "+group+" on "+topic, c.reset(ctx, group, topic, r))
}

func (c *Conn) reset(ctx context.Context, group, topic string, r driver.Reset) error {
	s, err := c.findGroup(ctx, group, topic)
	if err != nil {
		return err
	}
	starts, err := c.starts(ctx, s.topic, r.To)
	if err != nil {
		return err
	}
	doc, err := changeDoc(ctx, c, c.names.group(s.topic.life, group), func(d *groupDoc) error {
		if err := d.isThere(); err != nil {
			return err
		}
		if !r.Fence {
			if err := d.idle(c.now(), "stop them, or fence them"); err != nil {
				return err
			}
		}
		d.Run++
		return nil
	})
	if err != nil {
		return err
	}
	err = eachPartition(s.topic, func(p int) error {
		return c.journal(s.topic, group, p).step(ctx, func(*state) (*entry, error) {
			return &entry{Op: opReset, Position: starts[p], Run: doc.Run, Quiet: r.Quiet}, nil
		})
	})
	c.announce()
	return err
}
