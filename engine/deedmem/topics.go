package deedmem

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

// CreateTopic creates a topic or returns the one there is; see driver.Topics.
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	if err := c.enter(ctx); err != nil {
		return driver.TopicInfo{}, err
	}
	defer c.store.mu.Unlock()
	if t := c.store.topics[name]; t != nil {
		return t.describe(), nil
	}
	s, err := c.complete(name, s)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	c.store.generations[name]++
	t := &topic{
		info: driver.TopicInfo{
			Name: name, TopicSettings: s, Generation: c.store.generations[name],
			Incarnation: rand.Text(), Created: now(),
		},
		groups: make(map[string]*group), streams: make(map[string][]int64),
	}
	for range s.Partitions {
		t.parts = append(t.parts, &partition{producers: make(map[string]int64)})
	}
	c.store.topics[name] = t
	return t.describe(), nil
}

// complete fills in the defaults and refuses what makes no sense.
func (c *Conn) complete(name string, s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.Features())
	if name == "" {
		err = fmt.Errorf("%w: a topic needs a name", driver.ErrRefused)
	}
	if err != nil {
		err = fmt.Errorf("mem: topic %q: %w", name, err)
	}
	return s, err
}

// describe returns the topic's info with its present counts.
func (t *topic) describe() driver.TopicInfo {
	info := t.info
	info.Bytes = t.bytes
	if n := len(t.schedule.waiting); n > 0 {
		info.Scheduled, info.NextDue = int64(n), t.schedule.waiting[0].due()
	}
	for _, p := range t.parts {
		info.Events += p.last - p.base
	}
	return info
}

// Topic describes one topic; see driver.Topics.
func (c *Conn) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	if err := c.enter(ctx); err != nil {
		return driver.TopicInfo{}, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(name)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	return t.describe(), nil
}

// Topics lists all topics by name.
func (c *Conn) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	infos := make([]driver.TopicInfo, 0, len(c.store.topics))
	for _, t := range c.store.topics {
		infos = append(infos, t.describe())
	}
	slices.SortFunc(infos, func(a, b driver.TopicInfo) int { return cmp.Compare(a.Name, b.Name) })
	return infos, nil
}

// SetTopic changes Dedupe, Keep, Hold and MaxBytes; see driver.Topics.
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(name)
	if err != nil {
		return err
	}
	if s, err = c.complete(name, s); err != nil {
		return err
	}
	if err := t.info.Alter(s); err != nil {
		return fmt.Errorf("mem: topic %q: %w", name, err)
	}
	t.info.TopicSettings = s
	return nil
}

// DeleteTopic removes a topic with all that belongs to it. Its members are told by
// their next call.
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(name)
	if err != nil {
		return err
	}
	delete(c.store.topics, name)
	t.deleted = true
	t.schedule.stop()
	for _, g := range t.groups {
		for _, m := range g.members {
			m.notify()
		}
	}
	return nil
}
