package deedredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// beyond refuses a position that the log has not reached.
func beyond(partition int, end, at position) error {
	return fmt.Errorf("%w: partition %d ends at %q, the group would start after %s",
		driver.ErrRefused, partition, end, at)
}

// Browse implements [driver.Browser].
func (c *Conn) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("browse %s partition %d", p.Topic, p.Partition)
	after, err := parsePosition(p.After)
	if err != nil {
		return nil, c.fail(what, err)
	}
	t, err := c.partitionOf(ctx, p.Topic, p.Partition)
	if err != nil || p.Limit < 1 {
		return nil, c.fail(what, err)
	}
	var ds []driver.Delivery
	if p.Backward {
		ds, err = c.before(ctx, t, p, after)
	} else {
		ds, err = c.forward(ctx, t, p, after)
	}
	return ds, c.fail(what, err)
}

// forward returns the events after a position.
func (c *Conn) forward(ctx context.Context, t *topic, p driver.Page, after position) ([]driver.Delivery, error) {
	start := "-"
	if p.After != "" {
		start = "(" + p.After
	}
	cmd := c.client.B().Xrange().Key(t.keys[p.Partition][0]).Start(start).End("+").Count(int64(p.Limit)).Build()
	ds, err := c.entries(ctx, cmd, p, after)
	return ds[:min(len(ds), p.Limit)], err
}

// before returns the events before a position, newest first. The entry that the
// position lies in may hold some of them.
func (c *Conn) before(ctx context.Context, t *topic, p driver.Page, at position) ([]driver.Delivery, error) {
	log := t.keys[p.Partition][0]
	end := "+"
	var ds []driver.Delivery
	if p.After != "" {
		own, err := c.entries(ctx, c.client.B().Xrange().Key(log).Start(p.After).End("+").Count(1).Build(), p, position{})
		if err != nil {
			return nil, err
		}
		for _, d := range own {
			if x, err := parsePosition(d.Position); err == nil && x.compare(at) < 0 {
				ds = append(ds, d)
			}
		}
		slices.Reverse(ds)
		end = "(" + p.After
	}
	cmd := c.client.B().Xrevrange().Key(log).End(end).Start("-").Count(int64(p.Limit)).Build()
	list, err := c.client.Do(ctx, cmd).ToArray()
	if err != nil {
		return nil, err
	}
	for i := range list {
		one, err := decode(&list[i], p, position{})
		if errors.Is(err, errNotReadable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		slices.Reverse(one)
		ds = append(ds, one...)
	}
	return ds[:min(len(ds), p.Limit)], nil
}

// entries runs a command that returns entries and reads their events.
func (c *Conn) entries(
	ctx context.Context, cmd rueidis.Completed, p driver.Page, after position,
) ([]driver.Delivery, error) {
	list, err := c.client.Do(ctx, cmd).ToArray()
	if err != nil {
		return nil, err
	}
	var ds []driver.Delivery
	for i := range list {
		one, err := decode(&list[i], p, after)
		if len(ds) > 0 && errors.Is(err, errNotReadable) {
			break // the next page begins with it
		}
		if err != nil {
			return nil, err
		}
		ds = append(ds, one...)
	}
	return ds, nil
}

func decode(m *rueidis.RedisMessage, p driver.Page, after position) ([]driver.Delivery, error) {
	e, err := parseEntry(m)
	if err != nil {
		return nil, err
	}
	return e.deliveries(nil, p.Topic, p.Partition, after)
}

// Seek implements [driver.Browser].
func (c *Conn) Seek(ctx context.Context, name string, partition int, at time.Time) (string, error) {
	if err := c.usable(); err != nil {
		return "", err
	}
	what := fmt.Sprintf("seek in %s partition %d", name, partition)
	t, err := c.partitionOf(ctx, name, partition)
	if err != nil {
		return "", c.fail(what, err)
	}
	list, err := c.client.Do(ctx, c.client.B().Xrevrange().Key(t.keys[partition][0]).
		End("("+millisUp(at)+"-0").Start("-").Count(1).Build()).AsXRange()
	if err != nil || len(list) == 0 {
		return "", c.fail(what, err)
	}
	return list[0].ID, nil
}

// Ends implements [driver.Browser].
func (c *Conn) Ends(ctx context.Context, name string) ([]string, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	t, err := c.lookup(ctx, name)
	if err != nil {
		return nil, c.fail("ends of "+name, err)
	}
	ends, err := c.ends(ctx, t)
	if err != nil {
		return nil, c.fail("ends of "+name, err)
	}
	texts := make([]string, len(ends))
	for i, e := range ends {
		texts[i] = e.String()
	}
	return texts, nil
}

// ends returns the last position of every partition.
func (c *Conn) ends(ctx context.Context, t *topic) ([]position, error) {
	cmds := make(rueidis.Commands, len(t.keys))
	for p, keys := range t.keys {
		cmds[p] = c.client.B().Xrevrange().Key(keys[0]).End(endOfPositions).Start("-").Count(1).Build()
	}
	ends := make([]position, len(cmds))
	for p, r := range c.client.DoMulti(ctx, cmds...) {
		list, err := r.AsXRange()
		for err == nil && len(list) > 0 {
			if ends[p], err = parsePosition(list[0].ID); err == nil {
				break
			}
			ms, _, _ := strings.Cut(list[0].ID, "-") // the entry of another program: it ends before
			list, err = c.client.Do(ctx, c.client.B().Xrevrange().Key(t.keys[p][0]).
				End(ms+"-"+farthestNumber).Start("-").Count(1).Build()).AsXRange()
		}
		if err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// Compare implements [driver.Browser].
func (c *Conn) Compare(a, b string) (int, error) {
	x, err := parsePosition(a)
	if err != nil {
		return 0, err
	}
	y, err := parsePosition(b)
	return x.compare(y), err
}

// partitionOf returns the topic when it has the partition.
func (c *Conn) partitionOf(ctx context.Context, name string, partition int) (*topic, error) {
	t, err := c.lookup(ctx, name)
	if err == nil && (partition < 0 || partition >= t.info.Partitions) {
		err = fmt.Errorf("%w: topic %s has %d partitions and no number %d",
			driver.ErrNotFound, name, t.info.Partitions, partition)
	}
	return t, err
}
