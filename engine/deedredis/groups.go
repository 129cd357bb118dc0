package deedredis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// listValue is a JSON array of strings.
func listValue(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil { // no list of strings does that
		panic(err)
	}
	return string(b)
}

// groupNames returns a topic's groups, sorted.
func (c *Conn) groupNames(ctx context.Context, topic string) ([]string, error) {
	names, err := c.client.Do(ctx, c.client.B().Smembers().Key(c.keys.groups(topic)).Build()).AsStrSlice()
	slices.Sort(names)
	return names, err
}

// standing is a group on a topic.
type standing struct {
	group string
	topic *topic
}

// standings returns the groups and topics named; "" names all.
func (c *Conn) standings(ctx context.Context, group, topic string) ([]standing, error) {
	names := []string{topic}
	if topic == "" {
		var err error
		if names, err = c.names(ctx); err != nil {
			return nil, err
		}
	}
	var all []standing
	for _, name := range names {
		t, err := c.lookup(ctx, name)
		if errors.Is(err, driver.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		groups, err := c.groupNames(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			if group == "" || group == g {
				all = append(all, standing{g, t})
			}
		}
	}
	slices.SortFunc(all, func(a, b standing) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic.info.Name, b.topic.info.Name))
	})
	return all, nil
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
	name := s.topic.info.Name
	info := driver.GroupInfo{Group: s.group, Topic: name}
	record, err := c.client.Do(ctx, c.client.B().Hgetall().Key(c.keys.group(name, s.group)).Build()).AsStrMap()
	if err != nil {
		return info, err
	}
	created, _ := strconv.ParseInt(record["created"], 10, 64)
	seen, _ := strconv.ParseInt(record["seen"], 10, 64)
	info.Created = time.Unix(0, created).UTC()
	if seen > 0 {
		info.LastSeen = time.UnixMilli(seen).UTC()
	}
	info.Run, _ = strconv.Atoi(record["run"])
	info.Paused = record["paused"] == "1"
	if err := json.Unmarshal([]byte(record["unsafe"]), &info.Unsafe); err != nil {
		return info, fmt.Errorf("its list of types that cannot be replayed: %w", err)
	}
	live, _, err := c.liveSeats(ctx, name, s.group)
	if err != nil {
		return info, err
	}
	for seat := range live {
		info.Members = append(info.Members, driverkit.ProcessOf(seat))
	}
	slices.Sort(info.Members)
	cmds := make(rueidis.Commands, s.topic.info.Partitions)
	for p := range cmds {
		cmds[p] = c.client.B().Hget().Key(c.keys.claim(name, p, s.group)).Field("dropped").Build()
	}
	for _, r := range c.client.DoMulti(ctx, cmds...) {
		n, err := r.AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return info, err
		}
		info.Dropped += n
	}
	return info, nil
}

// Lag implements [driver.Groups].
func (c *Conn) Lag(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	lags, err := c.lags(ctx, group, topic)
	return lags, c.fail("lag", err)
}

// countMost is how many entries are counted one by one where ids do not tell the lag.
const countMost = 10_000

func (c *Conn) lags(ctx context.Context, group, topic string) ([]driver.PartitionLag, error) {
	all, err := c.standings(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	var lags []driver.PartitionLag
	for _, s := range all {
		live, _, err := c.liveSeats(ctx, s.topic.info.Name, s.group)
		if err != nil {
			return nil, err
		}
		calls := make([]call, s.topic.info.Partitions)
		for p := range calls {
			keys := s.topic.keys[p]
			calls[p] = call{lagScript, []string{keys[0], keys[1], keys[0] + ":group:" + s.group},
				[]string{strconv.Itoa(countMost)}}
		}
		for p, r := range c.runAll(ctx, calls) {
			got, err := texts(&r)
			if err != nil {
				return nil, err
			}
			if len(got) == 0 {
				continue // deleted meanwhile
			}
			if got[0] == "marker" {
				info := s.topic.info
				info.Damage = damaged(info, p)
				lags = append(lags, driver.PartitionLag{Group: s.group, Topic: info.Name, Partition: p, Status: info.Damage})
				continue
			}
			l, err := s.lag(p, got, live)
			if err != nil {
				return nil, err
			}
			lags = append(lags, l)
		}
	}
	return lags, nil
}

// lag reads the answer of lag.lua.
func (s standing) lag(p int, got []string, live map[string]leaseLeft) (driver.PartitionLag, error) {
	l := driver.PartitionLag{
		Group: s.group, Topic: s.topic.info.Name, Partition: p, Position: got[0], End: got[1], Status: got[9],
	}
	var errs []error
	integer := func(i int) int64 {
		n, err := strconv.ParseInt(got[i], 10, 64)
		errs = append(errs, err)
		return n
	}
	l.Events, l.Parked, l.Dead, l.Epoch = integer(2), integer(4), integer(5), integer(7)
	if got[3] != "" {
		l.Oldest = time.UnixMilli(integer(3)).UTC()
	}
	rate, err := strconv.ParseFloat(got[8], 64)
	l.Rate = rate
	errs = append(errs, err)
	if dropped := integer(10); l.Status == "" && dropped > 0 {
		l.Status = fmt.Sprintf("%d unhandled events were removed after the topic's hold of %v", dropped, s.topic.info.Hold)
	}
	if got[11] != "1" && l.Status == "" {
		l.Status = fmt.Sprintf("at least %d events behind: others write to the stream or delete from it", countMost)
	}
	if left, alive := live[got[6]]; alive {
		l.Member, l.Lapses = driverkit.ProcessOf(got[6]), time.Now().Add(left.time)
		l.MemberGone = left.late || driverkit.ProcessEnded(got[6])
	}
	return l, errors.Join(errs...)
}

// findGroup returns the topic when it has the group.
func (c *Conn) findGroup(ctx context.Context, group, name string) (*topic, error) {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	there, err := c.client.Do(ctx, c.client.B().Exists().Key(c.keys.group(name, group)).Build()).AsBool()
	if err == nil && !there {
		err = fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, group, name)
	}
	return t, err
}

// idle is ErrBusy when the group has live members.
func (c *Conn) idle(ctx context.Context, group, topic, hint string) error {
	live, _, err := c.liveSeats(ctx, topic, group)
	if err != nil || len(live) == 0 {
		return err
	}
	members := make(map[string]bool)
	for seat := range live {
		members[driverkit.ProcessOf(seat)] = true
	}
	list := make([]string, 0, len(members))
	for m := range members {
		list = append(list, m)
	}
	slices.Sort(list)
	return fmt.Errorf("%w: %s (%s)", driver.ErrBusy, strings.Join(list, ", "), hint)
}

// DeleteGroup implements [driver.Groups].
func (c *Conn) DeleteGroup(ctx context.Context, group, topic string) error {
	if err := c.usable(); err != nil {
		return err
	}
	t, err := c.findGroup(ctx, group, topic)
	if err == nil {
		err = c.idle(ctx, group, topic, "stop them")
	}
	if err == nil {
		err = c.forget(ctx, t, group)
	}
	return c.fail("delete group "+group+" on "+topic, err)
}

// forget removes a group: first its record, so that members see that it is gone.
func (c *Conn) forget(ctx context.Context, t *topic, group string) error {
	name := t.info.Name
	keys := []string{c.keys.topic(name), c.keys.groups(name), c.keys.group(name, group), c.keys.seats(name, group)}
	if _, err := c.run(ctx, ungroupScript, keys, group, deletedGroup+group); err != nil {
		return err
	}
	calls := make([]call, t.info.Partitions)
	for p := range calls {
		calls[p] = call{forgetScript, t.keys[p][:1], []string{group}}
	}
	for _, r := range c.runAll(ctx, calls) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	c.announce(ctx, name)
	return nil
}

// PauseGroup implements [driver.Groups].
func (c *Conn) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	if err := c.usable(); err != nil {
		return err
	}
	_, err := c.findGroup(ctx, group, topic)
	if err == nil {
		_, err = c.run(ctx, pauseScript, []string{c.keys.group(topic, group)}, flag(paused))
		c.announce(ctx, topic)
	}
	return c.fail("pause group "+group+" on "+topic, err)
}
