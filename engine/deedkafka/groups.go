package deedkafka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// groupEntry is what the catalog holds of a group on a topic.
type groupEntry struct {
	Created time.Time `json:"created"`
	Unsafe  []string  `json:"unsafe,omitempty"`
	Paused  bool      `json:"-"` // is an entry of its own, which others write
}

func groupKey(group, topic string) string { return "group/" + topic + "/" + group }
func pauseKey(group, topic string) string { return "pause/" + topic + "/" + group }

// groupEntry returns what the catalog holds of a group, or ErrNotFound.
func (c *Conn) groupEntry(ctx context.Context, group, topic string) (e groupEntry, err error) {
	var found error = fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, group, topic)
	err = c.catalog.read(ctx, func(values map[string][]byte) {
		if value, ok := values[groupKey(group, topic)]; ok {
			found = json.Unmarshal(value, &e)
			_, e.Paused = values[pauseKey(group, topic)]
		}
	})
	return e, cmp.Or(err, found)
}

// enterGroup writes a group that is new, or that declares other types than before.
func (c *Conn) enterGroup(ctx context.Context, spec driver.SubscribeSpec) error {
	e, err := c.groupEntry(ctx, spec.Group, spec.Topic)
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return err
	}
	declared := slices.Sorted(slices.Values(spec.Unsafe))
	if err == nil && slices.Equal(e.Unsafe, declared) {
		return nil
	}
	if err != nil {
		e.Created = time.Now().UTC()
	}
	e.Unsafe = declared
	return c.catalog.write(ctx, groupKey(spec.Group, spec.Topic), e)
}

// heard takes what the catalog says of the subscription's group.
func (s *subscription) heard(rs []*kgo.Record) {
	for _, r := range rs {
		if string(r.Key) == pauseKey(s.spec.Group, s.spec.Topic) {
			s.paused.Store(r.Value != nil)
			s.changed.Notify()
		}
	}
}

// named is a group on a topic with its entry.
type named struct {
	group, topic string
	groupEntry
}

// listed returns the groups that are asked for, by group and topic; "" asks for all.
func (c *Conn) listed(ctx context.Context, group, topic string) ([]named, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	var all []named
	var damage error
	err := c.catalog.read(ctx, func(values map[string][]byte) {
		for key, value := range values {
			kind, rest, _ := strings.Cut(key, "/")
			n := named{}
			n.topic, n.group, _ = strings.Cut(rest, "/")
			if kind != "group" || group != "" && n.group != group || topic != "" && n.topic != topic {
				continue
			}
			damage = cmp.Or(json.Unmarshal(value, &n.groupEntry), damage)
			_, n.Paused = values[pauseKey(n.group, n.topic)]
			all = append(all, n)
		}
	})
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic, b.topic))
	})
	return all, cmp.Or(err, damage)
}

// members returns the members of Kafka's groups: the connections' names by that of the
// group.
func (c *Conn) members(ctx context.Context, all []named) (map[string][]string, error) {
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = groupName(n.group, n.topic)
	}
	members := make(map[string][]string)
	if len(names) == 0 {
		return members, nil
	}
	described, err := c.admin.DescribeGroups(ctx, names...)
	if err != nil {
		return nil, err
	}
	for name, d := range described {
		if d.Err != nil && !errors.Is(d.Err, kerr.GroupIDNotFound) {
			return nil, d.Err
		}
		for _, m := range d.Members {
			members[name] = append(members[name], m.ClientID)
		}
		slices.Sort(members[name])
	}
	return members, nil
}

// Groups implements [driver.Groups].
func (c *Conn) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	all, err := c.listed(ctx, "", "")
	if err != nil {
		return nil, c.fail("groups", err)
	}
	members, err := c.members(ctx, all)
	if err != nil {
		return nil, c.fail("groups", err)
	}
	var infos []driver.GroupInfo
	for _, n := range all {
		t, err := c.recent(ctx, n.topic)
		if errors.Is(err, driver.ErrNotFound) { // other programs deleted it
			continue
		}
		var known map[int]standing
		if err == nil {
			known, err = c.standings(ctx, n.group, t)
		}
		if err != nil {
			return nil, c.fail("groups", err)
		}
		info := driver.GroupInfo{
			Group: n.group, Topic: n.topic, Created: n.Created, Paused: n.Paused, Unsafe: n.Unsafe, LastSeen: n.Created,
			Members: members[groupName(n.group, n.topic)],
		}
		for _, st := range known {
			info.Run = max(info.Run, st.Run)
			info.Dropped += st.Dropped
			if beat := time.UnixMilli(st.Beat).UTC(); st.Beat > 0 && beat.After(info.LastSeen) {
				info.LastSeen = beat
			}
		}
		if len(info.Members) > 0 {
			info.LastSeen = time.Now().UTC()
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Lag implements [driver.Groups].
func (c *Conn) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	all, err := c.listed(ctx, group, topic)
	if err != nil {
		return nil, c.fail("lag", err)
	}
	members, err := c.members(ctx, all)
	if err != nil {
		return nil, c.fail("lag", err)
	}
	var lags []driver.PartitionLag
	for _, n := range all {
		t, err := c.recent(ctx, n.topic)
		if errors.Is(err, driver.ErrNotFound) {
			continue
		}
		var some []driver.PartitionLag
		if err == nil {
			some, err = c.lagOf(ctx, n, t, members[groupName(n.group, n.topic)])
		}
		if err != nil {
			return nil, c.fail("lag", err)
		}
		lags = append(lags, some...)
	}
	return lags, nil
}

// lagOf reports every partition of one group.
func (c *Conn) lagOf(ctx context.Context, n named, t *topic, members []string) ([]driver.PartitionLag, error) {
	known, err := c.standings(ctx, n.group, t)
	if err != nil {
		return nil, err
	}
	starts, ends, err := c.ends(ctx, t)
	if err != nil {
		return nil, err
	}
	lags := make([]driver.PartitionLag, len(ends))
	for p := range lags {
		st, begun := known[p]
		if begun {
			st.begin(starts[p])
		}
		if st.Status == "" && st.Dropped > 0 {
			st.Status = fmt.Sprintf("%d unhandled events were removed by Kafka's retention", st.Dropped)
		}
		l := driver.PartitionLag{
			Group: n.group, Topic: n.topic, Partition: p,
			Position: driverkit.Position(st.Next), End: driverkit.Position(ends[p]),
			Events: max(0, ends[p]-max(st.Next, starts[p])), Epoch: st.Epoch, Rate: st.Rate, Status: st.Status,
		}
		if l.Events > 0 {
			if l.Oldest, err = c.storedAt(ctx, t, p, max(st.Next, starts[p])); err != nil {
				return nil, err
			}
		}
		if slices.Contains(members, st.Owner) { // for Kafka its lease has not run out
			l.Member, l.Lapses = st.Owner, st.lapses()
			l.MemberGone = time.Now().After(l.Lapses)
		}
		lags[p] = l
	}
	return lags, nil
}

// storedAt returns when the event at an offset was stored, or the next one there is.
func (c *Conn) storedAt(ctx context.Context, t *topic, p int, offset int64) (time.Time, error) {
	rs, _, err := c.fetch(ctx, t.name, p, offset, 1)
	if err != nil || len(rs) == 0 {
		return time.Time{}, err
	}
	return rs[0].Timestamp.UTC(), nil
}

// DeleteGroup implements [driver.Groups].
func (c *Conn) DeleteGroup(ctx context.Context, group, topic string) error {
	what := "delete group " + group + " on " + topic
	if err := c.idle(ctx, group, topic); err != nil {
		return c.fail(what, err)
	}
	return c.fail(what, c.forgetGroup(ctx, group, topic))
}

// idle is ErrNotFound for a group that is not there, and ErrBusy for one with members.
func (c *Conn) idle(ctx context.Context, group, topic string) error {
	if err := c.closed(); err != nil {
		return err
	}
	e, err := c.groupEntry(ctx, group, topic)
	if err != nil {
		return err
	}
	members, err := c.members(ctx, []named{{group, topic, e}})
	if n := len(members[groupName(group, topic)]); err == nil && n > 0 {
		err = fmt.Errorf("%w: it has %d", driver.ErrBusy, n)
	}
	return err
}

func (c *Conn) forgetGroup(ctx context.Context, group, topic string) error {
	if _, err := c.admin.DeleteGroup(ctx, groupName(group, topic)); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	if err := c.catalog.write(ctx, pauseKey(group, topic), nil); err != nil {
		return err
	}
	return c.catalog.write(ctx, groupKey(group, topic), nil)
}

// forgetGroups removes the groups of a topic that was deleted. Those whose members have
// not heard of it yet have nothing to go on with.
func (c *Conn) forgetGroups(ctx context.Context, topic string) error {
	all, err := c.listed(ctx, "", topic)
	if err != nil {
		return err
	}
	for _, n := range all {
		if err := c.forgetGroup(ctx, n.group, topic); errors.Is(err, kerr.NonEmptyGroup) {
			err = c.catalog.write(ctx, groupKey(n.group, topic), nil)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// PauseGroup implements [driver.Groups].
func (c *Conn) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	what := "pause group " + group + " on " + topic
	if err := c.closed(); err != nil {
		return err
	}
	if _, err := c.groupEntry(ctx, group, topic); err != nil {
		return c.fail(what, err)
	}
	if !paused {
		return c.fail(what, c.catalog.write(ctx, pauseKey(group, topic), nil))
	}
	return c.fail(what, c.catalog.write(ctx, pauseKey(group, topic), true))
}
