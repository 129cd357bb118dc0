package deedmem

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// sweepStep is how many events a sweep removes before it lets others have the store.
const sweepStep = 1024

// Sweep removes what retention lets go; see driver.Sweeper.
func (c *Conn) Sweep(ctx context.Context, topic string) (removed int64, err error) {
	for p, parts := 0, 1; p < parts; {
		n := 0
		n, parts, err = c.sweepPart(ctx, topic, p)
		if err != nil {
			return removed, err
		}
		removed += int64(n)
		if n < sweepStep {
			p++
		}
	}
	return removed, nil
}

// sweepPart sweeps one step of a partition and returns how many of these there are.
func (c *Conn) sweepPart(ctx context.Context, topic string, partition int) (n, partitions int, err error) {
	if err := c.enter(ctx); err != nil {
		return 0, 0, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(topic)
	if err != nil {
		return 0, 0, err
	}
	if partition < len(t.parts) && !t.info.Streams { // a topic of the same name may have fewer
		n = t.sweep(partition, now())
	}
	return n, len(t.parts), nil
}

// sweep removes at most one step's worth of the events that are past their time:
// older than Keep and handled by every group, or older than Hold. The last stays.
func (t *topic) sweep(p int, at time.Time) (n int) {
	l, handled := &t.parts[p].log, t.handled(p)
	for ; n < sweepStep && l.base+1 < l.last; n++ {
		age := at.Sub(l.at(l.base + 1).storedAt())
		if age <= t.info.Keep {
			return n
		}
		if l.base+1 > handled {
			if t.info.Hold == 0 || age <= t.info.Hold {
				return n
			}
			for _, g := range t.groups {
				g.drop(p, l.base+1)
			}
		}
		t.bytes -= int64(l.trim())
	}
	return n
}

// handled returns up to where every group has handled the partition.
func (t *topic) handled(p int) int64 {
	pos := t.parts[p].last
	for _, g := range t.groups {
		pos = min(pos, g.readings[p].position)
	}
	return pos
}

// drop moves the group past an event that is about to be removed. It counts as
// dropped when the group has neither handled nor parked it.
func (g *group) drop(p int, pos int64) {
	r := g.readings[p]
	if r.position >= pos {
		return
	}
	r.position, r.fetched = pos, max(r.fetched, pos)
	if r.side.records[spot{pos, g.run}] == nil {
		r.dropped++
	}
}

// room is ErrFull when the topic is at its MaxBytes. It names the group that has the
// most before it.
func (t *topic) room() error {
	if t.info.MaxBytes <= 0 || t.bytes < t.info.MaxBytes {
		return nil
	}
	var slowest *group
	most := int64(0)
	for _, g := range t.groups {
		n := int64(0)
		for p, r := range g.readings {
			n += t.parts[p].last - max(r.position, t.parts[p].base)
		}
		if n > most {
			slowest, most = g, n
		}
	}
	if slowest == nil {
		return fmt.Errorf("mem: topic %q has %d bytes of %d, none of them older than its keep of %v "+
			"(shorten that or raise the bound): %w", t.info.Name, t.bytes, t.info.MaxBytes, t.info.Keep, driver.ErrFull)
	}
	return fmt.Errorf("mem: topic %q has %d bytes of %d, and group %q has %d events before it "+
		"(run it, set it forward or raise the bound): %w",
		t.info.Name, t.bytes, t.info.MaxBytes, slowest.name, most, driver.ErrFull)
}
