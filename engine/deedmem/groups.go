package deedmem

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Groups lists groups by (group, topic).
func (c *Conn) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	var infos []driver.GroupInfo
	for _, g := range c.store.groupsOf("", "") {
		info := driver.GroupInfo{
			Group: g.name, Topic: g.topic.info.Name, Created: g.created,
			LastSeen: g.lastSeen, Paused: g.paused, Run: g.run, Unsafe: slices.Clone(g.unsafe),
		}
		for _, r := range g.readings {
			info.Dropped += r.dropped
		}
		for _, m := range g.members {
			info.Members = append(info.Members, m.name)
			info.LastSeen = now()
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// groupsOf returns the groups by (group, topic); "" selects all.
func (s *store) groupsOf(name, topic string) []*group {
	var gs []*group
	for _, t := range s.topics {
		if topic != "" && topic != t.info.Name {
			continue
		}
		for _, g := range t.groups {
			if name == "" || name == g.name {
				gs = append(gs, g)
			}
		}
	}
	slices.SortFunc(gs, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.topic.info.Name, b.topic.info.Name))
	})
	return gs
}

// Lag reports how far groups are behind; see driver.Groups.
func (c *Conn) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	var lags []driver.PartitionLag
	for _, g := range c.store.groupsOf(group, topic) {
		for p := range g.readings {
			lags = append(lags, g.lag(p))
		}
	}
	return lags, nil
}

func (g *group) lag(p int) driver.PartitionLag {
	r, l := g.readings[p], &g.topic.parts[p].log
	lag := driver.PartitionLag{
		Group: g.name, Topic: g.topic.info.Name, Partition: p,
		Position: driverkit.Position(r.position), End: driverkit.Position(l.last),
		Epoch: r.epoch, Rate: r.rate, Status: r.status,
	}
	aside := r.side.count(&lag, g.run, r.position)
	lag.Events = l.last - max(r.position, l.base) - int64(len(aside))
	if lag.Events > 0 {
		first := max(r.position, l.base) + 1
		for aside[first] {
			first++
		}
		lag.Oldest = l.at(first).storedAt()
	}
	if lag.Status == "" && r.dropped > 0 {
		lag.Status = fmt.Sprintf("%d unhandled events were removed after the topic's hold of %v",
			r.dropped, g.topic.info.Hold)
	}
	if m := r.owner; m != nil {
		lag.Member, lag.Lapses = m.name, now().Add(m.lease)
		if !m.frozen.IsZero() {
			lag.MemberGone, lag.Lapses = true, m.frozen.Add(m.lease)
		}
	}
	return lag
}

// DeleteGroup forgets a group that has no members; see driver.Groups.
func (c *Conn) DeleteGroup(ctx context.Context, group, topic string) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	g, err := c.store.groupNamed(group, topic)
	if err != nil {
		return err
	}
	if n := len(g.members); n > 0 {
		return fmt.Errorf("mem: group %q on topic %q: %d members (stop them first): %w",
			group, topic, n, driver.ErrBusy)
	}
	delete(g.topic.groups, group)
	return nil
}

// PauseGroup stops or resumes fetching for all members.
func (c *Conn) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	g, err := c.store.groupNamed(group, topic)
	if err != nil {
		return err
	}
	g.paused = paused
	for _, m := range g.members {
		m.notify()
	}
	return nil
}
