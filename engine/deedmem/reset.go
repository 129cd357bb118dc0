package deedmem

import (
	"context"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// ResetGroup sets a group's position; see driver.Resetter.
func (c *Conn) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	g, err := c.store.groupNamed(group, topic)
	if err != nil {
		return err
	}
	if n := len(g.members); n > 0 && !r.Fence {
		return fmt.Errorf("mem: group %q on topic %q: %d members (stop them first, or fence them): %w",
			group, topic, n, driver.ErrBusy)
	}
	start, err := g.start(r.To)
	if err != nil {
		return err
	}
	g.run++
	g.quiet = r.Quiet
	for p, reading := range g.readings {
		if m := reading.owner; m != nil {
			told := !slices.Contains(m.granted, p)
			g.free(p)
			if told {
				m.lost = append(m.lost, p)
				m.notify()
			}
		}
		reading.position, reading.fetched = start[p], start[p]
	}
	g.balance() // which grants what was taken anew, in a later epoch
	return nil
}

// start returns the positions that from stands for.
func (g *group) start(from driver.From) ([]int64, error) {
	parts := g.topic.parts
	start := make([]int64, len(parts))
	for i, p := range parts {
		switch {
		case from.End:
			start[i] = p.last
		case !from.Time.IsZero():
			start[i] = p.seek(from.Time)
		}
	}
	for i, pos := range from.Cursor {
		n, err := driverkit.ParsePosition(pos)
		if err != nil {
			return nil, err
		}
		if i < 0 || i >= len(parts) || n > parts[i].last {
			return nil, fmt.Errorf("mem: group %q on topic %q: the cursor's %d-%s is not in the topic: %w",
				g.name, g.topic.info.Name, i, pos, driver.ErrRefused)
		}
		start[i] = n
	}
	return start, nil
}
