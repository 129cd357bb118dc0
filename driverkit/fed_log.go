package driverkit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// fedLog is a fed whose log can be read again: all groups read the same, each from a
// position of its own, which the state keeps and may set to any place in the log.
type fedLog struct{ *fed }

// countLogs counts the events of a topic in logs.
func (c *fed) countLogs(ctx context.Context, info *driver.TopicInfo) error {
	ends, err := c.logs.Ends(ctx, info.Name, info.Partitions)
	if err != nil {
		return err
	}
	for p, text := range ends {
		if text == "" {
			continue
		}
		first, err := c.logs.Browse(ctx, driver.Page{Topic: info.Name, Partition: p, Limit: 1})
		if err != nil {
			return err
		}
		if len(first) == 0 {
			continue
		}
		start, err := ParsePosition(first[0].Position)
		if err != nil {
			return err
		}
		end, err := ParsePosition(text)
		if err != nil {
			return err
		}
		info.Events += max(0, end-start+1)
	}
	return nil
}

// partition is ErrNotFound for a topic that is not there, and ErrRefused for a partition.
func (c *fedLog) partition(ctx context.Context, topic string, p int) error {
	info, err := c.look(ctx, topic)
	if err == nil && (p < 0 || p >= info.Partitions) {
		err = fmt.Errorf("%s: topic %s: %w: partition %d of %d", c.features.Engine, topic, driver.ErrRefused, p,
			info.Partitions)
	}
	return err
}

// Browse implements [driver.Browser].
func (c *fedLog) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	if err := c.partition(ctx, p.Topic, p.Partition); err != nil {
		return nil, err
	}
	return c.logs.Browse(ctx, p)
}

// Seek implements [driver.Browser].
func (c *fedLog) Seek(ctx context.Context, topic string, partition int, t time.Time) (string, error) {
	if err := c.partition(ctx, topic, partition); err != nil {
		return "", err
	}
	return c.logs.Seek(ctx, topic, partition, t)
}

// Ends implements [driver.Browser].
func (c *fedLog) Ends(ctx context.Context, topic string) ([]string, error) {
	return c.ends(ctx, topic)
}

// ends returns the last positions of a topic.
func (c *fed) ends(ctx context.Context, topic string) ([]string, error) {
	info, err := c.look(ctx, topic)
	if err != nil {
		return nil, err
	}
	return c.logs.Ends(ctx, topic, info.Partitions)
}

// Compare implements [driver.Browser].
func (c *fedLog) Compare(a, b string) (int, error) { return ComparePositions(a, b) }

// ResetGroup implements [driver.Resetter].
func (c *fedLog) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	groups, err := c.groupsOf(ctx, topic)
	if err == nil && !slices.Contains(groups, group) {
		err = fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, group, topic)
	}
	if err == nil {
		r.To, err = c.place(ctx, topic, r.To)
	}
	if err == nil {
		err = c.fence.ResetGroup(ctx, group, c.shadow(topic), r)
	}
	if err != nil {
		return fmt.Errorf("%s: reset group %s on %s: %w", c.features.Engine, group, topic, err)
	}
	return nil
}

// place says a place in a topic by positions, since the state has no events to find it by.
func (c *fed) place(ctx context.Context, topic string, from driver.From) (driver.From, error) {
	ends, err := c.ends(ctx, topic)
	if err != nil {
		return from, err
	}
	cursor := make(map[int]string, len(ends))
	for p := range ends {
		if from.End {
			cursor[p] = ends[p]
		} else if cursor[p], err = c.logs.Seek(ctx, topic, p, from.Time); err != nil {
			return from, err
		}
	}
	for p, at := range from.Cursor {
		if p < 0 || p >= len(ends) {
			return from, fmt.Errorf("%w: the cursor has partition %d, the topic %d", driver.ErrRefused, p, len(ends))
		}
		order, err := ComparePositions(at, ends[p])
		if err != nil {
			return from, err
		}
		if order > 0 {
			return from, fmt.Errorf("%w: the cursor has position %s of partition %d, which ends at %q",
				driver.ErrRefused, at, p, ends[p])
		}
		cursor[p] = at
	}
	return driver.From{Cursor: cursor}, nil
}
