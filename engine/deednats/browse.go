package deednats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// search returns the first message of a partition that is one of those which come last, as
// is tells, or errNone. It asks for a few messages only.
func (c *Conn) search(
	ctx context.Context, t *topic, p int, is func(*message, *stamp) bool,
) (found message, stamped stamp, err error) {
	subject := c.names.partition(t.life, p)
	first, err := c.next(ctx, t.log, subject, 1)
	if err != nil {
		return found, stamped, err
	}
	last, err := c.last(ctx, t.log, subject)
	if err != nil {
		return found, stamped, err
	}
	lo, hi := first.seq, last.seq // where it is, if there is one
	for lo <= hi {
		middle := lo + (hi-lo)/2
		m, err := c.next(ctx, t.log, subject, middle)
		if err != nil {
			return found, stamped, err
		}
		s, err := parseStamp(&m)
		if err != nil {
			return found, stamped, err
		}
		if is(&m, &s) {
			found, stamped, hi = m, s, middle-1
		} else {
			lo = m.seq + 1
		}
	}
	if found.seq == 0 {
		err = errNone
	}
	return found, stamped, err
}

// locate returns the message that holds a position, or else the first behind it.
func (c *Conn) locate(ctx context.Context, t *topic, p int, position int64) (message, stamp, error) {
	return c.search(ctx, t, p, func(_ *message, s *stamp) bool { return s.last >= position })
}

// seek returns the position before the first event stored at or after a time.
func (c *Conn) seek(ctx context.Context, t *topic, p int, at time.Time) (int64, error) {
	stand, err := c.stand(ctx, t, p)
	if err != nil {
		return 0, err
	}
	_, s, err := c.search(ctx, t, p, func(m *message, _ *stamp) bool { return !m.time.Before(at) })
	if errors.Is(err, errNone) {
		return stand.end.last, nil
	}
	return max(s.last-s.count, stand.base.Position), err
}

// Browse implements [driver.Browser].
func (c *Conn) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("browse %s partition %d", p.Topic, p.Partition)
	after, err := driverkit.ParsePosition(p.After)
	if err != nil {
		return nil, c.fail(what, err)
	}
	t, err := c.partitionOf(ctx, p.Topic, p.Partition)
	if err != nil || p.Limit < 1 {
		return nil, c.fail(what, err)
	}
	at, err := c.stand(ctx, t, p.Partition)
	if err != nil {
		return nil, c.fail(what, err)
	}
	var ds []driver.Delivery
	switch {
	case !p.Backward:
		ds, err = c.forward(ctx, t, p, at, after)
	case p.After == "":
		ds, err = c.backward(ctx, t, p, at, at.end.last)
	default:
		ds, err = c.backward(ctx, t, p, at, min(after-1, at.end.last))
	}
	return ds, c.fail(what, err)
}

// forward returns the events after a position.
func (c *Conn) forward(
	ctx context.Context, t *topic, p driver.Page, at stand, after int64,
) (ds []driver.Delivery, err error) {
	after = max(after, at.base.Position)
	if after >= at.end.last {
		return nil, nil
	}
	m, s, err := c.locate(ctx, t, p.Partition, after+1)
	for err == nil {
		some, err := c.events(ctx, t, &m, &s, p.Partition, after)
		if err != nil {
			return ds, err
		}
		if ds = append(ds, some...); len(ds) >= p.Limit || m.seq >= at.end.seq {
			return ds[:min(len(ds), p.Limit)], nil
		}
		if m, err = c.next(ctx, t.log, c.names.partition(t.life, p.Partition), m.seq+1); err != nil {
			return ds, none(err)
		}
		if s, err = parseStamp(&m); err != nil {
			return ds, err
		}
	}
	return ds, none(err)
}

// none takes what was removed meanwhile for the end.
func none(err error) error {
	if errors.Is(err, errNone) {
		return nil
	}
	return err
}

// backward returns the events up to a position, newest first.
func (c *Conn) backward(
	ctx context.Context, t *topic, p driver.Page, at stand, upto int64,
) (ds []driver.Delivery, err error) {
	for len(ds) < p.Limit && upto > at.base.Position {
		m, s, err := c.locate(ctx, t, p.Partition, upto)
		if err != nil {
			return ds, none(err)
		}
		some, err := c.events(ctx, t, &m, &s, p.Partition, at.base.Position)
		if err != nil {
			return ds, err
		}
		some = some[:max(0, len(some)-int(s.last-upto))]
		slices.Reverse(some)
		ds = append(ds, some...)
		upto = s.last - s.count
	}
	return ds[:min(len(ds), p.Limit)], nil
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
	position, err := c.seek(ctx, t, partition, at)
	return driverkit.Position(position), c.fail(what, err)
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
	stands, err := c.stands(ctx, t)
	if err != nil {
		return nil, c.fail("ends of "+name, err)
	}
	texts := make([]string, len(stands))
	for p, s := range stands {
		texts[p] = driverkit.Position(s.end.last)
	}
	return texts, nil
}

// Compare implements [driver.Browser].
func (c *Conn) Compare(a, b string) (int, error) {
	return driverkit.ComparePositions(a, b)
}

// partitionOf returns the topic when it has the partition.
func (c *Conn) partitionOf(ctx context.Context, name string, partition int) (*topic, error) {
	t, err := c.lookup(ctx, name)
	if err == nil && (partition < 0 || partition >= len(t.parts)) {
		err = fmt.Errorf("%w: topic %s has %d partitions and no number %d", driver.ErrNotFound, name, len(t.parts), partition)
	}
	return t, err
}
