package filelog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// group is how a group stands on a topic.
type group struct {
	Created time.Time
	Seen    time.Time // when somebody last joined
	Paused  bool
	Unsafe  []string
	Parts   []standing
}

// standing is how a group stands on a partition.
type standing struct {
	Position int64  // handled up to here
	Owner    string // the seat that has it
	Epoch    int64
	Unclean  bool // the last owner has not released it
	Rate     float64
	Status   string
}

// group returns a group of the topic.
func (t *topic) group(name string) (group, error) {
	g, ok := t.kept.Groups[name]
	if t.gone || !ok {
		return g, fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, name, t.name)
	}
	g.Parts = slices.Clone(g.Parts)
	return g, nil
}

// put stores a group, or removes it when that is nil.
func (t *topic) put(name string, g *group) error {
	next := t.kept
	if next.Groups = maps.Clone(next.Groups); next.Groups == nil {
		next.Groups = make(map[string]group)
	}
	if delete(next.Groups, name); g != nil {
		next.Groups[name] = *g
	}
	return t.change(next)
}

// start returns the positions that from stands for, by partition.
func (t *topic) start(from driver.From) ([]standing, error) {
	parts := make([]standing, len(t.parts))
	var err error
	for i, p := range t.parts {
		switch {
		case from.End:
			parts[i].Position = p.last
		case !from.Time.IsZero():
			var seekErr error
			parts[i].Position, seekErr = p.seek(from.Time)
			err = errors.Join(err, seekErr)
		}
	}
	for i, position := range from.Cursor {
		n, cursorErr := driverkit.ParsePosition(position)
		if cursorErr != nil || i < 0 || i >= len(parts) || n > t.parts[i].last {
			return nil, fmt.Errorf("%w: topic %s has no position %d-%s", driver.ErrRefused, t.name, i, position)
		}
		parts[i].Position = n
	}
	return parts, err
}

// members returns the seats of a group with a live lease.
func (l *Log) members(t *topic, group string) (names []string) {
	for name, s := range l.seats {
		if s.topic == t && s.group == group && l.live(name) {
			names = append(names, name)
		}
	}
	return names
}

// each calls see with the groups of a name and topic, "" for any, by both.
func (l *Log) each(name, on string, see func(t *topic, name string, g group) error) error {
	type key struct{ group, topic string }
	var keys []key
	for _, t := range l.topics {
		for g := range t.kept.Groups {
			if (name == "" || name == g) && (on == "" || on == t.name) {
				keys = append(keys, key{g, t.name})
			}
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic, b.topic))
	})
	for _, k := range keys {
		if err := see(l.topics[k.topic], k.group, l.topics[k.topic].kept.Groups[k.group]); err != nil {
			return err
		}
	}
	return nil
}

// Groups implements [driver.Groups].
func (c *Conn) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	return do(ctx, c, "groups", func(l *Log) (all []driver.GroupInfo, err error) {
		return all, l.each("", "", func(t *topic, name string, g group) error {
			info := driver.GroupInfo{
				Group: name, Topic: t.name, Created: g.Created, LastSeen: g.Seen, Paused: g.Paused, Unsafe: slices.Clone(g.Unsafe),
			}
			for _, seat := range l.members(t, name) {
				info.Members, info.LastSeen = append(info.Members, driverkit.ProcessOf(seat)), time.Now()
			}
			slices.Sort(info.Members)
			all = append(all, info)
			return nil
		})
	})
}

// [lag]

// Lag implements [driver.Groups].
func (c *Conn) Lag(ctx context.Context, name, on string) ([]driver.PartitionLag, error) {
	return do(ctx, c, "lag", func(l *Log) (all []driver.PartitionLag, err error) {
		return all, l.each(name, on, func(t *topic, name string, g group) error {
			for i := range g.Parts {
				lag, err := l.lag(&g.Parts[i], t.parts[i])
				if err != nil {
					return err
				}
				lag.Group, lag.Topic, lag.Partition = name, t.name, i
				all = append(all, lag)
			}
			return nil
		})
	})
}

func (l *Log) lag(x *standing, p *partition) (driver.PartitionLag, error) {
	lag := driver.PartitionLag{
		Position: driverkit.Position(x.Position), End: driverkit.Position(p.last), Events: p.last - x.Position,
		Epoch: x.Epoch, Rate: x.Rate, Status: x.Status,
	}
	if l.live(x.Owner) {
		s := l.seats[x.Owner]
		lag.Member, lag.Lapses, lag.MemberGone = driverkit.ProcessOf(x.Owner), s.until, s.silent()
	}
	if lag.Events == 0 {
		return lag, nil
	}
	passed := int64(0)
	_, err := p.scan(place{}, func(d driver.Delivery) bool {
		lag.Oldest = d.Stored
		passed++
		return passed <= x.Position
	})
	return lag, err
}

// [lag]

// DeleteGroup implements [driver.Groups].
func (c *Conn) DeleteGroup(ctx context.Context, name, on string) error {
	return c.change(ctx, "delete", name, on, func(l *Log, t *topic, _ group) error {
		if n := len(l.members(t, name)); n > 0 {
			return fmt.Errorf("%w: %d of them", driver.ErrBusy, n)
		}
		return t.put(name, nil)
	})
}

// PauseGroup implements [driver.Groups].
func (c *Conn) PauseGroup(ctx context.Context, name, on string, paused bool) error {
	return c.change(ctx, "pause", name, on, func(_ *Log, t *topic, g group) error {
		g.Paused = paused
		return t.put(name, &g)
	})
}

// change runs f with a group, and tells members that something was changed.
func (c *Conn) change(ctx context.Context, what, name, on string, f func(*Log, *topic, group) error) error {
	_, err := do(ctx, c, what+" group "+name+" on "+on, func(l *Log) (none struct{}, err error) {
		t, err := l.topic(on)
		if err != nil {
			return none, err
		}
		g, err := t.group(name)
		if err != nil {
			return none, err
		}
		defer l.moved()
		return none, f(l, t, g)
	})
	return err
}
