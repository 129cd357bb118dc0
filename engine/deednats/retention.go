package deednats

import (
	"context"
	"errors"
	"time"
)

// Sweep implements [driver.Sweeper]. What of a partition is gone is written down first, so
// that nobody is given an event of a message that has others to keep.
func (c *Conn) Sweep(ctx context.Context, name string) (removed int64, err error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	t, err := c.lookup(ctx, name)
	if err == nil {
		err = c.askTime(ctx)
	}
	if err != nil {
		return 0, c.fail("sweep "+name, err)
	}
	groups, err := c.groupNames(ctx, t)
	if err != nil {
		return 0, c.fail("sweep "+name, err)
	}
	for p := range t.parts {
		n, err := c.sweep(ctx, t, groups, p)
		removed += n
		if err != nil {
			return removed, c.fail("sweep "+name, err)
		}
	}
	return removed, nil
}

// sweep removes what Keep does not ask for any more: what all groups have handled, and
// what Hold gives up. The last event stays.
func (c *Conn) sweep(ctx context.Context, t *topic, groups []string, p int) (removed int64, err error) {
	at, err := c.stand(ctx, t, p)
	if err != nil || at.end.last-at.base.Position < 2 {
		return 0, err
	}
	handled := at.end.last
	for _, g := range groups {
		err := c.journal(t, g, p).look(ctx, func(s *state) error {
			if s.Made {
				handled = min(handled, s.Position)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	now := c.now()
	old, err := c.seek(ctx, t, p, now.Add(-t.info.Keep))
	if err != nil {
		return 0, err
	}
	upto := min(old, handled)
	if t.info.Hold > 0 {
		given, err := c.seek(ctx, t, p, now.Add(-max(t.info.Hold, t.info.Keep)))
		if err != nil {
			return 0, err
		}
		upto = max(upto, given)
	}
	if upto = min(upto, at.end.last-1); upto <= at.base.Position {
		return 0, nil
	}
	for _, g := range groups {
		if err := c.drop(ctx, t, g, p, max(at.base.Position, 0), upto); err != nil {
			return 0, err
		}
	}
	return upto - at.base.Position, c.cut(ctx, t, p, upto)
}

// drop moves a group past events that are about to be removed. One counts as dropped when
// the group has neither handled nor parked it.
func (c *Conn) drop(ctx context.Context, t *topic, group string, p int, base, upto int64) error {
	return c.journal(t, group, p).step(ctx, func(s *state) (*entry, error) {
		if !s.Made || s.Position >= upto {
			return nil, nil
		}
		after := max(s.Position, base)
		_, _, aside := s.side.count(s.Run, after)
		dropped := upto - after
		for position := range aside {
			if position <= upto {
				dropped--
			}
		}
		return &entry{Op: opDrop, Position: upto, Dropped: dropped}, nil
	})
}

// cut removes what a partition has up to a position. Messages go as a whole, and none
// whose id JetStream still has to know.
func (c *Conn) cut(ctx context.Context, t *topic, p int, upto int64) error {
	m, s, err := c.locate(ctx, t, p, upto+1)
	if err != nil {
		return none(err)
	}
	bytes := s.bytes // less what is left here
	left, err := c.events(ctx, t, &m, &s, p, upto)
	if err != nil {
		return err
	}
	for i := range left {
		bytes -= int64(len(left[i].Data))
	}
	_, err = changeDoc(ctx, c, c.names.base(t.life, p), func(d *baseDoc) error {
		if d.Position < upto {
			*d = baseDoc{upto, bytes}
		}
		return nil
	})
	if err != nil {
		return err
	}
	part := t.parts[p]
	part.mu.Lock()
	if err = part.refresh(ctx); err == nil { // the headers of what goes say what producers have stored
		err = part.writeProducers(ctx)
	}
	part.mu.Unlock()
	if err != nil {
		return err
	}
	keep := m
	if t.info.Dedupe > 0 {
		known, _, err := c.search(ctx, t, p, func(x *message, _ *stamp) bool {
			return !x.time.Before(c.now().Add(-t.info.Dedupe - time.Minute))
		})
		if err == nil {
			if known.seq < keep.seq {
				keep = known
			}
		} else if !errors.Is(err, errNone) {
			return err
		}
	}
	kept, err := parseStamp(&keep)
	if err != nil {
		return err
	}
	if err := c.purge(ctx, t.log, c.names.partition(t.life, p), keep.seq); err != nil {
		return err
	}
	below := keep.seq // what is large of a message was stored after the message before
	if len(kept.large) > 0 {
		below = kept.large[0]
	}
	return c.purge(ctx, t.log, c.names.large(t.life, p), below)
}
