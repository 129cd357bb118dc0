package deedmem

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Browse returns events of one partition; see driver.Browser.
func (c *Conn) Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error) {
	after, err := driverkit.ParsePosition(p.After)
	if err != nil {
		return nil, err
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.partitionOf(p.Topic, p.Partition)
	if err != nil {
		return nil, err
	}
	l := &t.parts[p.Partition].log
	sp := span{partition: p.Partition, from: max(after, l.base)}
	sp.to = min(l.last, sp.from+int64(max(p.Limit, 0)))
	if p.Backward {
		sp.to = l.last
		if after > 0 {
			sp.to = min(l.last, after-1)
		}
		sp.from = max(l.base, sp.to-int64(max(p.Limit, 0)))
	}
	bytes := 0
	for pos := sp.from + 1; pos <= sp.to; pos++ {
		bytes += int(l.at(pos).bytes)
	}
	ds := t.copyOut([]span{sp}, int(max(0, sp.to-sp.from)), bytes)
	if p.Backward {
		slices.Reverse(ds)
	}
	return ds, nil
}

// partitionOf returns the topic when it has the partition.
func (s *store) partitionOf(name string, partition int) (*topic, error) {
	t, err := s.topicNamed(name)
	if err == nil && (partition < 0 || partition >= len(t.parts)) {
		err = fmt.Errorf("mem: topic %q has %d partitions and no number %d: %w",
			name, len(t.parts), partition, driver.ErrNotFound)
	}
	return t, err
}

// Seek returns the position before the first event stored at or after at.
func (c *Conn) Seek(ctx context.Context, topic string, partition int, at time.Time) (string, error) {
	if err := c.enter(ctx); err != nil {
		return "", err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.partitionOf(topic, partition)
	if err != nil {
		return "", err
	}
	return driverkit.Position(t.parts[partition].seek(at)), nil
}

// Ends returns the last position of every partition, "" for an empty one.
func (c *Conn) Ends(ctx context.Context, topic string) ([]string, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.topicNamed(topic)
	if err != nil {
		return nil, err
	}
	ends := make([]string, len(t.parts))
	for i, p := range t.parts {
		ends[i] = driverkit.Position(p.last)
	}
	return ends, nil
}

// Compare orders two positions of one partition.
func (c *Conn) Compare(a, b string) (int, error) {
	return driverkit.ComparePositions(a, b)
}
