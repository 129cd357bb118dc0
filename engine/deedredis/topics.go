package deedredis

import (
	"context"
	"crypto/rand"
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

// formatVersion is how this version writes keys. A higher one is refused.
const formatVersion = 1

// The limits that letterID leaves room for.
const (
	maxPartitions = 1 << 10
	maxTopics     = 1 << 20
)

// topic is what a connection knows of a topic without asking again. It changes by
// SetTopic only, or is another generation.
type topic struct {
	info   driver.TopicInfo
	number int64      // unlike any other topic's
	before int        // the generation of this name that was deleted last
	ready  bool       // all partitions have their marker
	keys   [][]string // of each partition
	seen   time.Time
}

// freshness is how long a topic is believed to be as it was: another process may
// have changed its settings.
const freshness = 5 * time.Second

// CreateTopic implements [driver.Topics].
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	what := "create topic " + name
	if err := c.usable(); err != nil {
		return driver.TopicInfo{}, err
	}
	t, err := c.lookup(ctx, name)
	if errors.Is(err, driver.ErrNotFound) {
		t, err = c.create(ctx, name, s)
	}
	ready := err == nil && t.ready
	if ready {
		ready, err = c.whole(ctx, t) // else the server has lost the others, which begin anew
	}
	if err == nil && !ready {
		err = c.prepare(ctx, t)
	}
	if err != nil {
		return driver.TopicInfo{}, c.fail(what, err)
	}
	info, err := c.describe(ctx, t)
	return info, c.fail(what, err)
}

// create makes the topic's record, or finds the one that somebody else just made.
func (c *Conn) create(ctx context.Context, name string, s driver.TopicSettings) (*topic, error) {
	s, err := c.complete(name, s)
	if err != nil {
		return nil, err
	}
	number, err := c.client.Do(ctx, c.client.B().Incr().Key(c.keys.numbers()).Build()).AsInt64()
	if err != nil {
		return nil, err
	}
	if number >= maxTopics {
		return nil, fmt.Errorf("%w: %d topics were made under the prefix %s, which is all there can be (use another prefix)",
			driver.ErrRefused, number, c.keys.prefix)
	}
	generation, incarnation, err := c.survivor(ctx, name, s.Partitions)
	if err != nil {
		return nil, err
	}
	args := []string{strconv.FormatInt(number, 10), rand.Text(), strconv.FormatInt(time.Now().UnixNano(), 10),
		generation, incarnation}
	args = append(args, fields(s)...)
	m, err := c.run(ctx, topicScript, []string{c.keys.topic(name)}, args...)
	if err != nil {
		return nil, err
	}
	record, err := m.AsStrMap()
	if err != nil {
		return nil, err
	}
	return c.keys.parseTopic(name, record)
}

// prepare gives every partition its marker. Whoever finds a topic that was left
// half made does the same.
func (c *Conn) prepare(ctx context.Context, t *topic) error {
	window := strconv.FormatInt(windowMillis(t.info.Dedupe), 10)
	calls := make([]call, t.info.Partitions)
	for p := range calls {
		calls[p] = call{partitionScript, c.keys.partition(t.info.Name, p),
			[]string{strconv.Itoa(t.info.Generation), t.info.Incarnation, window}}
	}
	for _, r := range c.runAll(ctx, calls) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	add := c.client.B().Sadd().Key(c.keys.topics()).Member(t.info.Name).Build()
	ready := c.client.B().Hset().Key(c.keys.topic(t.info.Name)).FieldValue().FieldValue("ready", "1").Build()
	for _, cmd := range []rueidis.Completed{add, ready} {
		if err := c.client.Do(ctx, cmd).Error(); err != nil {
			return err
		}
	}
	t.ready = true
	c.remember(t)
	return nil
}

// lookup asks the server about a topic.
func (c *Conn) lookup(ctx context.Context, name string) (*topic, error) {
	record, err := c.client.Do(ctx, c.client.B().Hgetall().Key(c.keys.topic(name)).Build()).AsStrMap()
	if err != nil {
		return nil, err
	}
	if len(record) == 0 || record["deleted"] == "1" {
		return nil, c.missing(name, len(record) == 0)
	}
	t, err := c.keys.parseTopic(name, record)
	if err == nil {
		c.remember(t)
	}
	return t, err
}

func (c *Conn) remember(t *topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics[t.info.Name], c.made[t.info.Name] = t, true
}

// known returns a topic as it was when last looked at.
func (c *Conn) known(ctx context.Context, name string) (*topic, error) {
	c.mu.Lock()
	t := c.topics[name]
	c.mu.Unlock()
	if t != nil && time.Since(t.seen) < freshness {
		return t, nil
	}
	return c.lookup(ctx, name)
}

// describe adds up what the partitions hold.
func (c *Conn) describe(ctx context.Context, t *topic) (driver.TopicInfo, error) {
	info := t.info
	for p := range info.Partitions {
		log := c.keys.log(info.Name, p)
		b := c.client.B()
		r := c.client.DoMulti(ctx,
			b.Hmget().Key(log+":meta").Field("last", "removed", "entries", "trimmed", "bytes").Build(),
			b.Xlen().Key(log).Build(),
			b.Zcard().Key(log+":due").Build(),
			b.Zrange().Key(log+":due").Min("0").Max("0").Withscores().Build())
		for _, x := range r {
			if err := x.Error(); err != nil {
				return info, err
			}
		}
		fields, err := r[0].ToArray()
		if err != nil {
			return info, err
		}
		if fields[0].IsNil() {
			info.Damage = damaged(info, p)
			continue
		}
		n, err := r[0].AsIntSlice()
		if err != nil {
			return info, fmt.Errorf("%w: the marker of partition %d cannot be read: %w", driver.ErrRefused, p, err)
		}
		length, _ := r[1].AsInt64()
		if events, entries := n[0]-n[1], n[2]-n[3]; entries == length {
			info.Events += events
		} else {
			info.Events += max(0, events+length-entries) // what others wrote or deleted are single ones
		}
		info.Bytes += n[4]
		waiting, _ := r[2].AsInt64()
		info.Scheduled += waiting
		if first, err := r[3].AsZScores(); err == nil && len(first) > 0 {
			due := time.UnixMicro(int64(first[0].Score)).UTC()
			if info.NextDue.IsZero() || due.Before(info.NextDue) {
				info.NextDue = due
			}
		}
	}
	return info, nil
}

// damaged tells of one more partition that has no marker.
func damaged(info driver.TopicInfo, partition int) string {
	const what = ": the server has lost it, and what was stored with it"
	if before, _, ok := strings.Cut(info.Damage, what); ok {
		return before + fmt.Sprintf(", %d", partition) + info.Damage[len(before):]
	}
	return fmt.Sprintf("no marker of partition %d%s (to start it empty, `deed topics create %s` or start a service "+
		"again; outboxes publish again what they keep)", partition, what, info.Name)
}

// Topic implements [driver.Topics].
func (c *Conn) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return driver.TopicInfo{}, err
	}
	t, err := c.lookup(ctx, name)
	if err != nil {
		return driver.TopicInfo{}, c.fail("describe topic "+name, err)
	}
	info, err := c.describe(ctx, t)
	return info, c.fail("describe topic "+name, err)
}

// names returns the names of all topics, sorted.
func (c *Conn) names(ctx context.Context) ([]string, error) {
	names, err := c.client.Do(ctx, c.client.B().Smembers().Key(c.keys.topics()).Build()).AsStrSlice()
	slices.Sort(names)
	return names, err
}

// Topics implements [driver.Topics].
func (c *Conn) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	names, err := c.names(ctx)
	if err != nil {
		return nil, c.fail("list topics", err)
	}
	return driverkit.Describe(ctx, c, names)
}

// SetTopic implements [driver.Topics].
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("set topic "+name, c.set(ctx, name, s))
}

func (c *Conn) set(ctx context.Context, name string, s driver.TopicSettings) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	if s, err = c.complete(name, s); err != nil {
		return err
	}
	if err := t.info.Alter(s); err != nil {
		return err
	}
	set := c.client.B().Hset().Key(c.keys.topic(name)).FieldValue()
	for pair := range slices.Chunk(fields(s), 2) {
		set = set.FieldValue(pair[0], pair[1])
	}
	if err := c.client.Do(ctx, set.Build()).Error(); err != nil {
		return err
	}
	window := strconv.FormatInt(windowMillis(s.Dedupe), 10)
	cmds := make(rueidis.Commands, t.info.Partitions)
	for p := range cmds {
		cmds[p] = c.client.B().Hset().Key(c.keys.partition(name, p)[1]).FieldValue().FieldValue("window", window).Build()
	}
	for _, r := range c.client.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	_, err = c.lookup(ctx, name)
	return err
}

// DeleteTopic implements [driver.Topics]. The record stays, as deleted, so that the
// next topic of the name is another generation.
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail("delete topic "+name, c.remove(ctx, name))
}

func (c *Conn) remove(ctx context.Context, name string) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	groups, err := c.groupNames(ctx, name)
	if err != nil {
		return err
	}
	b := c.client.B()
	err = c.client.Do(ctx, b.Hset().Key(c.keys.topic(name)).FieldValue().FieldValue("deleted", "1").Build()).Error()
	if err != nil {
		return err
	}
	failed := c.clear(ctx, t)
	dead := []string{c.keys.groups(name)}
	for _, g := range groups {
		dead = append(dead, c.keys.group(name, g), c.keys.seats(name, g))
	}
	for _, cmd := range []rueidis.Completed{
		b.Unlink().Key(dead...).Build(), b.Srem().Key(c.keys.topics()).Member(name).Build(),
	} {
		failed = errors.Join(failed, c.client.Do(ctx, cmd).Error())
	}
	if failed != nil {
		return failed
	}
	c.mu.Lock()
	delete(c.topics, name)
	delete(c.made, name)
	c.mu.Unlock()
	c.announce(ctx, name)
	return nil
}

// clear removes the partitions of a topic, in steps.
func (c *Conn) clear(ctx context.Context, t *topic) error {
	calls := make([]call, t.info.Partitions)
	for p := range calls {
		calls[p] = call{clearScript, t.keys[p], []string{strconv.Itoa(t.info.Generation)}}
	}
	var failed error
	for len(calls) > 0 {
		var more []call
		for i, r := range c.runAll(ctx, calls) {
			left, err := r.AsBool()
			if failed = errors.Join(failed, err); err == nil && left {
				more = append(more, calls[i])
			}
		}
		calls = more
	}
	return failed
}
