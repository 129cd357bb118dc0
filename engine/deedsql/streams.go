package deedsql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// AppendStream implements [driver.Streams].
func (c *Conn) AppendStream(ctx context.Context, b driver.StreamBatch) (last string, err error) {
	what := fmt.Sprintf("append to stream %q of %s", b.Key, b.Topic)
	if err := b.Check(); err != nil {
		return "", c.fail(what, err)
	}
	err = c.write(ctx, len(b.Messages), func(t *tx) (err error) {
		last, err = t.appendStream(&b)
		return err
	})
	if errors.Is(err, driver.ErrConflict) {
		return driverkit.Repeated(ctx, c, &b, c.fail(what, err))
	}
	if err != nil {
		return "", fmt.Errorf("deedsql: %s: %w", what, err)
	}
	return last, nil
}

// appendStream stores a batch behind its stream's last event. It refuses before it
// writes.
func (t *tx) appendStream(b *driver.StreamBatch) (last string, err error) {
	topic, err := t.topic(b.Topic)
	if err == nil {
		err = topic.holdsStreams()
	}
	if err == nil {
		err = topic.storable(b.Messages, t.dialect.limits())
	}
	if err != nil {
		return "", err
	}
	partition := driver.PartitionOf(b.Key, topic.settings.Partitions)
	locks := []lock{partitionLock(b.Topic, partition), topicLock(b.Topic)}
	if !topic.whole() {
		locks = locks[:1]
	}
	if err := t.lock(locks...); err != nil {
		return "", err
	}
	var version int64
	err = t.row("SELECT coalesce(max(version), 0) FROM deed_stream WHERE topic_id = ? AND key = ?",
		[]any{topic.id, b.Key}, &version)
	if err != nil {
		return "", err
	}
	if version != b.Version && !seeded("version") {
		return "", fmt.Errorf("it was thought to be at version %d: %w", b.Version, &driver.ConflictError{Version: version})
	}
	h, err := t.head(place{topic.id, partition})
	if err != nil {
		return "", err
	}
	if err := t.makeRoom(topic, b.Messages); err != nil {
		return "", err
	}
	first := h.position + 1
	r, err := t.store(topic, partition, h, b.Messages)
	if err != nil {
		return "", err
	}
	values := make([]sqldriver.Value, 0, intoStreams.columns*len(b.Messages))
	for i := range int64(len(b.Messages)) {
		values = append(values, topic.id, b.Key, version+1+i, first+i)
	}
	return r.Last, intoStreams.exec(t.session, values)
}

var intoStreams = newBulk("deed_stream (topic_id, key, version, position)", "")

// ReadStream implements [driver.Streams].
func (c *Conn) ReadStream(_ context.Context, p driver.StreamPage) ([]driver.Delivery, error) {
	ds, err := c.readStream(p)
	return ds, c.fail(fmt.Sprintf("read stream %q of %s", p.Key, p.Topic), err)
}

func (c *Conn) readStream(p driver.StreamPage) ([]driver.Delivery, error) {
	t, err := c.partition(p.Topic, 0)
	if err == nil {
		err = t.holdsStreams()
	}
	if err != nil || p.Limit < 1 {
		return nil, err
	}
	rows := rows{partition: driver.PartitionOf(p.Key, t.settings.Partitions)}
	query, args := c.dialect.tables().stream(t.id, rows.partition, &p)
	err = c.sessions.with(func(s *session) error {
		var failed error
		err := s.each(query, func(row []sqldriver.Value) bool {
			failed = rows.add(row)
			return failed == nil
		}, args...)
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		return c.kinds.complete(s, &rows)
	})
	if err != nil {
		return nil, err
	}
	return rows.events, nil
}

// holdsStreams is ErrRefused for a topic of another kind.
func (t *topic) holdsStreams() error {
	if t.settings.Streams {
		return nil
	}
	return fmt.Errorf("%w: topic %s is no topic of streams", driver.ErrRefused, t.name)
}
