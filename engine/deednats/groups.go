package deednats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// makeGroup makes what is missing of a group. Its document comes first, so that a group
// that is half made is finished by whoever joins next.
func (c *Conn) makeGroup(ctx context.Context, t *topic, spec driver.SubscribeSpec) error {
	starts, err := c.starts(ctx, t, spec.From)
	if err != nil {
		return err
	}
	_, err = changeDoc(ctx, c, c.names.group(t.life, spec.Group), func(d *groupDoc) error {
		if d.isThere() != nil {
			*d = groupDoc{Format: formatVersion, Created: c.now().UnixMicro()}
		}
		d.Unsafe = spec.Unsafe
		return nil
	})
	if err != nil {
		return err
	}
	return eachPartition(t, func(p int) error {
		return c.journal(t, spec.Group, p).step(ctx, func(s *state) (*entry, error) {
			if s.Made {
				return nil, nil
			}
			return &entry{Op: opStart, Position: starts[p]}, nil
		})
	})
}

// starts returns the positions that from stands for, by partition.
func (c *Conn) starts(ctx context.Context, t *topic, from driver.From) ([]int64, error) {
	starts := make([]int64, len(t.parts))
	if from.End || len(from.Cursor) > 0 {
		stands, err := c.stands(ctx, t)
		if err != nil {
			return nil, err
		}
		for p, text := range from.Cursor {
			if p < 0 || p >= len(t.parts) {
				return nil, fmt.Errorf("%w: the cursor names partition %d, topic %s has %d",
					driver.ErrRefused, p, t.info.Name, len(t.parts))
			}
			if starts[p], err = driverkit.ParsePosition(text); err != nil {
				return nil, err
			}
			if last := stands[p].end.last; starts[p] > last {
				return nil, fmt.Errorf("%w: partition %d ends at %q, the group would start after %s",
					driver.ErrRefused, p, driverkit.Position(last), text)
			}
		}
		for p := range starts {
			if from.End {
				starts[p] = stands[p].end.last
			}
		}
		return starts, nil
	}
	if from.Time.IsZero() {
		return starts, nil
	}
	return starts, eachPartition(t, func(p int) (err error) {
		starts[p], err = c.seek(ctx, t, p, from.Time)
		return err
	})
}

// groupNames returns a topic's groups, sorted.
func (c *Conn) groupNames(ctx context.Context, t *topic) ([]string, error) {
	tokens, err := c.subjects(ctx, c.names.meta(), c.names.allGroups(t.life))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, token := range tokens {
		if name, err := text(token); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// standing is a group on a topic.
type standing struct {
	group string
	topic *topic
	doc   groupDoc
}

// standings returns the groups and topics named; "" names all.
func (c *Conn) standings(ctx context.Context, group, topic string) ([]standing, error) {
	names := []string{topic}
	if topic == "" {
		var err error
		if names, err = c.topicNames(ctx); err != nil {
			return nil, err
		}
	}
	var all []standing
	for _, name := range names {
		t, err := c.lookup(ctx, name)
		if errors.Is(err, driver.ErrNotFound) || topic == "" && errors.Is(err, driver.ErrRefused) {
			continue // one that cannot be read Topics tells of
		}
		if err != nil {
			return nil, err
		}
		groups, err := c.groupNames(ctx, t)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			if group != "" && group != g {
				continue
			}
			doc, _, err := readDoc[groupDoc](ctx, c, c.names.group(t.life, g))
			if errors.Is(err, errNone) || err == nil && doc.isThere() != nil {
				continue
			}
			if err != nil {
				return nil, err
			}
			doc.prune(c.now().UnixMicro())
			all = append(all, standing{g, t, doc})
		}
	}
	slices.SortFunc(all, func(a, b standing) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic.info.Name, b.topic.info.Name))
	})
	return all, nil
}

// findGroup returns a group, or ErrNotFound.
func (c *Conn) findGroup(ctx context.Context, group, topic string) (standing, error) {
	if _, err := c.lookup(ctx, topic); err != nil {
		return standing{}, err
	}
	all, err := c.standings(ctx, group, topic)
	if err == nil && (len(all) == 0 || group == "") {
		err = fmt.Errorf("%w: there is no such group", driver.ErrNotFound)
	}
	if err != nil {
		return standing{}, err
	}
	return all[0], nil
}

// Groups implements [driver.Groups].
func (c *Conn) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	all, err := c.standings(ctx, "", "")
	if err != nil {
		return nil, c.fail("list groups", err)
	}
	infos := make([]driver.GroupInfo, 0, len(all))
	for _, s := range all {
		info, err := c.groupInfo(ctx, s)
		if err != nil {
			return nil, c.fail("describe group "+s.group, err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (c *Conn) groupInfo(ctx context.Context, s standing) (driver.GroupInfo, error) {
	info := driver.GroupInfo{
		Group: s.group, Topic: s.topic.info.Name, Created: timeOf(s.doc.Created), LastSeen: timeOf(s.doc.Left),
		Paused: s.doc.Paused, Run: s.doc.Run, Unsafe: s.doc.Unsafe,
	}
	for name, x := range s.doc.Seats {
		info.Members = append(info.Members, driverkit.ProcessOf(name))
		if seen := timeOf(x.Until - x.Lease); seen.After(info.LastSeen) {
			info.LastSeen = seen
		}
	}
	slices.Sort(info.Members)
	dropped := make([]int64, len(s.topic.parts))
	err := eachPartition(s.topic, func(p int) error {
		return c.journal(s.topic, s.group, p).look(ctx, func(x *state) error {
			dropped[p] = x.Dropped
			return nil
		})
	})
	for _, n := range dropped {
		info.Dropped += n
	}
	return info, err
}

// DeleteGroup implements [driver.Groups].
func (c *Conn) DeleteGroup(ctx context.Context, group, topic string) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("delete group "+group+" on "+topic, c.deleteGroup(ctx, group, topic))
}

func (c *Conn) deleteGroup(ctx context.Context, group, topic string) error {
	s, err := c.findGroup(ctx, group, topic)
	if err != nil {
		return err
	}
	_, err = changeDoc(ctx, c, c.names.group(s.topic.life, group), func(d *groupDoc) error {
		if err := d.isThere(); err != nil {
			return err
		}
		if err := d.idle(c.now(), "stop them first"); err != nil {
			return err
		}
		*d = groupDoc{Format: formatVersion, Deleted: true}
		return nil
	})
	if err != nil {
		return err
	}
	for p := range s.topic.parts {
		for _, subject := range []string{
			c.names.journal(s.topic.life, group, p), c.names.blobs(s.topic.life, group, p),
		} {
			if err := c.purge(ctx, s.topic.groups, subject, 0); err != nil {
				return err
			}
		}
	}
	c.announce()
	return nil
}

// idle is ErrBusy when a group has members.
func (d *groupDoc) idle(now time.Time, hint string) error {
	d.prune(now.UnixMicro())
	if n := len(d.Seats); n > 0 {
		return fmt.Errorf("%w: %d of them (%s)", driver.ErrBusy, n, hint)
	}
	return nil
}

// PauseGroup implements [driver.Groups].
func (c *Conn) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	if err := c.usable(); err != nil {
		return err
	}
	what := "pause group " + group + " on " + topic
	s, err := c.findGroup(ctx, group, topic)
	if err != nil {
		return c.fail(what, err)
	}
	_, err = changeDoc(ctx, c, c.names.group(s.topic.life, group), func(d *groupDoc) error {
		d.Paused = paused
		return d.isThere()
	})
	c.announce()
	return c.fail(what, err)
}
