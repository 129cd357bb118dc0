package driverkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// CreateTopic implements [driver.Topics].
func (c *fed) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	s, err := c.complete(s)
	if err == nil {
		err = c.alone(ctx, name)
	}
	var info driver.TopicInfo
	if err == nil {
		info, err = c.makeTopic(ctx, name, s)
	}
	if err == nil {
		err = c.count(ctx, &info)
	}
	if err != nil {
		return driver.TopicInfo{}, fmt.Errorf("%s: create topic %s: %w", c.features.Engine, name, err)
	}
	return info, nil
}

// makeTopic makes a topic in the state, which decides between two that want to, and then in
// the log. What the log refuses leaves no topic in the state that was not there.
func (c *fed) makeTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	_, before := c.look(ctx, name)
	info, err := c.shadows.CreateTopic(ctx, c.shadow(name), s)
	if err != nil {
		return info, err
	}
	info = c.remember(info, time.Now())
	err = c.log.MakeTopic(ctx, name, info.Partitions)
	if errors.Is(err, driver.ErrRefused) && errors.Is(before, driver.ErrNotFound) {
		err = errors.Join(err, c.shadows.DeleteTopic(ctx, c.shadow(name)))
	}
	return info, err
}

// complete fills in the defaults and refuses what a queue or log does not keep.
func (c *fed) complete(s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.features)
	if err == nil && (s.Dedupe > 0 || s.Pack || s.Streams || s.MaxBytes > 0) {
		err = fmt.Errorf("%w: %s keeps no id window, packs, topics of streams and bound on bytes",
			driver.ErrRefused, c.features.Engine)
	}
	return s, err
}

// Topic implements [driver.Topics].
func (c *fed) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	info, err := c.look(ctx, name)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	return info, c.count(ctx, &info)
}

// count counts the events of a topic. A queue lets go what its group has settled, so that
// of each partition there is as much as the group has that is furthest behind.
func (c *fed) count(ctx context.Context, info *driver.TopicInfo) error {
	if c.logs != nil {
		return c.countLogs(ctx, info)
	}
	groups, err := c.groupsOf(ctx, info.Name)
	if err != nil {
		return err
	}
	most := make([]int64, info.Partitions)
	for _, g := range groups {
		ws, err := c.queues.Waiting(ctx, g, info.Name, info.Partitions)
		if err != nil {
			return err
		}
		for p, w := range ws {
			most[p] = max(most[p], w.Events)
		}
	}
	for _, n := range most {
		info.Events += n
	}
	return nil
}

// groupsOf names the groups of a topic.
func (c *fed) groupsOf(ctx context.Context, topic string) (names []string, err error) {
	all, err := c.groups.Groups(ctx)
	for _, g := range all {
		if g.Topic == c.shadow(topic) {
			names = append(names, g.Group)
		}
	}
	return names, err
}

// Topics implements [driver.Topics].
func (c *fed) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	all, err := c.shadows.Topics(ctx)
	if err != nil {
		return nil, err
	}
	var infos []driver.TopicInfo
	for _, info := range all {
		if _, ok := c.shadowed(info.Name); !ok {
			continue
		}
		info = c.remember(info, time.Now())
		if err := c.count(ctx, &info); err != nil {
			info.Damage = err.Error()
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// SetTopic implements [driver.Topics].
func (c *fed) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	s, err := c.complete(s)
	if err == nil {
		err = c.shadows.SetTopic(ctx, c.shadow(name), s)
	}
	if err != nil {
		return fmt.Errorf("%s: set topic %s: %w", c.features.Engine, name, err)
	}
	return nil
}

// DeleteTopic implements [driver.Topics]. The queues go first: whoever dies in between has
// left a topic that can be deleted again.
func (c *fed) DeleteTopic(ctx context.Context, name string) error {
	info, err := c.shadows.Topic(ctx, c.shadow(name)) // it may be in another space too
	var groups []string
	if err == nil {
		groups, err = c.groupsOf(ctx, name)
	}
	if err == nil {
		err = c.log.DropTopic(ctx, name, info.Partitions, groups)
	}
	if err == nil {
		err = c.shadows.DeleteTopic(ctx, c.shadow(name))
	}
	c.forget(name)
	if err != nil {
		return fmt.Errorf("%s: delete topic %s: %w", c.features.Engine, name, err)
	}
	return nil
}

// Groups implements [driver.Groups].
func (c *fed) Groups(ctx context.Context) ([]driver.GroupInfo, error) {
	all, err := c.groups.Groups(ctx)
	var infos []driver.GroupInfo
	for _, g := range all {
		if topic, ok := c.shadowed(g.Topic); ok {
			g.Topic = topic
			infos = append(infos, g)
		}
	}
	return infos, err
}

// PauseGroup implements [driver.Groups].
func (c *fed) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	return c.groups.PauseGroup(ctx, group, c.shadow(topic), paused)
}

// DeleteGroup implements [driver.Groups]. The state knows whether the group has members, so
// it comes first, and queues that a call has left behind go with the next one.
func (c *fed) DeleteGroup(ctx context.Context, group, topic string) error {
	info, err := c.look(ctx, topic)
	if err != nil {
		return err
	}
	err = c.groups.DeleteGroup(ctx, group, c.shadow(topic))
	if err == nil || errors.Is(err, driver.ErrNotFound) {
		err = errors.Join(err, c.log.DropGroup(ctx, group, topic, info.Partitions))
	}
	return err
}
