package driverkit

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Lag implements [driver.Groups]: how many wait is the log's, all else the state's, which is
// asked first, so that what is handled meanwhile makes no lag negative.
func (c *fed) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	shadow := ""
	if topic != "" {
		shadow = c.shadow(topic)
	}
	all, err := c.groups.Lag(ctx, group, shadow)
	if err != nil {
		return nil, err
	}
	var lags []driver.PartitionLag
	for _, l := range all {
		if t, ok := c.shadowed(l.Topic); ok {
			l.Topic = t
			lags = append(lags, l)
		}
	}
	if len(lags) == 0 {
		return nil, nil
	}
	if c.logs == nil {
		return lags, c.lagOfQueues(ctx, lags)
	}
	return lags, c.lagOfLogs(ctx, lags)
}

// lagOfQueues says what waits in the queues of groups.
func (c *fed) lagOfQueues(ctx context.Context, lags []driver.PartitionLag) (err error) {
	partitions := make(map[key]int)
	for i := range lags {
		partitions[key{lags[i].Group, lags[i].Topic}]++
	}
	waiting := make(map[key][]Waiting)
	for k, n := range partitions {
		if waiting[k], err = c.queues.Waiting(ctx, k.group, k.topic, n); err != nil {
			return err
		}
	}
	for i := range lags {
		l := &lags[i]
		w := waiting[key{l.Group, l.Topic}][l.Partition]
		l.Events, l.Oldest, l.End = w.Events, w.Oldest, w.Last
		if l.Status == "" {
			l.Status = w.Status
		}
		if l.Events == 0 {
			l.End = l.Position
		} else if l.Parked+l.Dead > 0 {
			apart, err := c.apart(ctx, l, c.shadow(l.Topic), 0)
			if err != nil {
				return err
			}
			l.Events = max(0, l.Events-int64(len(apart)))
		}
	}
	return nil
}

// lagOfLogs says how far the logs go on after what groups have handled.
func (c *fed) lagOfLogs(ctx context.Context, lags []driver.PartitionLag) (err error) {
	ends := make(map[string][]string)
	runs, err := runs(ctx, c)
	if err != nil {
		return err
	}
	for i := range lags {
		l := &lags[i]
		if ends[l.Topic] == nil {
			if ends[l.Topic], err = c.ends(ctx, l.Topic); err != nil {
				return err
			}
		}
		if l.Partition >= len(ends[l.Topic]) {
			continue // deleted meanwhile, and made anew
		}
		l.End = ends[l.Topic][l.Partition]
		if err := c.behind(ctx, l, runs[key{l.Group, l.Topic}]); err != nil {
			return err
		}
	}
	return nil
}

// behind counts what lies between a group's position and the end of the log.
func (c *fed) behind(ctx context.Context, l *driver.PartitionLag, run int) error {
	end, err := ParsePosition(l.End)
	if err != nil {
		return err
	}
	at, err := ParsePosition(l.Position)
	if err != nil {
		return err
	}
	l.Events, l.Oldest = max(0, end-at), time.Time{}
	if at > end && l.Status == "" {
		l.Status = fmt.Sprintf("it has handled up to %d, and the log ends at %d: reset the group to go on", at, end)
	}
	var apart map[string]bool
	if l.Events > 0 && l.Parked+l.Dead > 0 {
		if apart, err = c.apart(ctx, l, c.shadow(l.Topic), run); err != nil {
			return err
		}
		l.Events = max(0, l.Events-int64(len(apart)))
		for apart[Position(at+1)] {
			at++
		}
	}
	if l.Events == 0 {
		return nil
	}
	ds, err := c.logs.Browse(ctx, driver.Page{
		Topic: l.Topic, Partition: l.Partition, After: Position(at), Limit: 1,
	})
	if len(ds) > 0 {
		l.Oldest = ds[0].Stored
	}
	return err
}
