package deedmem

import (
	"context"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// AppendStream appends to a stream; see driver.Streams.
func (c *Conn) AppendStream(ctx context.Context, b driver.StreamBatch) (last string, err error) {
	if err := b.Check(); err != nil {
		return "", fmt.Errorf("mem: append to stream %q: %w", b.Key, err)
	}
	last, err = c.appendStream(ctx, &b)
	if errors.Is(err, driver.ErrConflict) {
		return driverkit.Repeated(ctx, c, &b, err)
	}
	return last, err
}

func (c *Conn) appendStream(ctx context.Context, b *driver.StreamBatch) (last string, err error) {
	copied := newPiece(b.Messages)
	if err := c.enter(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("mem: %w: %w", driver.ErrNotStored, err)
		}
		return "", err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.streamsOf(b.Topic)
	if err != nil {
		return "", err
	}
	stream := t.streams[b.Key]
	if version := int64(len(stream)); version != b.Version {
		return "", fmt.Errorf("mem: stream %q of topic %q, which was thought to be at version %d: %w",
			b.Key, b.Topic, b.Version, &driver.ConflictError{Version: version})
	}
	if err := t.room(); err != nil {
		return "", err
	}
	n := driver.PartitionOf(b.Key, len(t.parts))
	p := t.parts[n]
	from, stamp := reader{piece: copied}, p.stamp(now())
	for i := range b.Messages {
		m := &b.Messages[i]
		e := from.next(m)
		p.add(m, e, copied, stamp)
		t.bytes += int64(e.bytes)
		stream = append(stream, p.last)
	}
	t.streams[b.Key] = stream
	t.announce(n)
	return driverkit.Position(p.last), nil
}

// ReadStream returns events of a stream; see driver.Streams.
func (c *Conn) ReadStream(ctx context.Context, p driver.StreamPage) ([]driver.Delivery, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	t, err := c.store.streamsOf(p.Topic)
	if err != nil {
		return nil, err
	}
	stream := t.streams[p.Key]
	if p.After < 0 || p.After >= int64(len(stream)) {
		return nil, nil
	}
	positions := stream[p.After:]
	positions = positions[:min(len(positions), max(p.Limit, 0))]
	partition := driver.PartitionOf(p.Key, len(t.parts))
	spans, bytes := make([]span, len(positions)), 0
	for i, pos := range positions {
		spans[i] = span{partition: partition, from: pos - 1, to: pos}
		bytes += int(t.parts[partition].at(pos).bytes)
	}
	return t.copyOut(spans, len(spans), bytes), nil
}

// streamsOf returns a topic when it is one of streams.
func (s *store) streamsOf(name string) (*topic, error) {
	t, err := s.topicNamed(name)
	if err == nil && !t.info.Streams {
		err = fmt.Errorf("mem: topic %q is no topic of streams: %w", name, driver.ErrRefused)
	}
	return t, err
}
