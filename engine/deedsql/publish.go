package deedsql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Publish implements [driver.Conn]. A large call is divided among the writers by
// partition; of each writer's part all is stored or nothing.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if c.writer == nil {
		return nil, fmt.Errorf("deedsql: publish: %w: opened read-only", driver.ErrRefused)
	}
	receipts := make([]driver.Receipt, len(batches))
	parts := c.divide(batches)
	errs := make([]error, len(parts))
	var others sync.WaitGroup
	for i := 1; i < len(parts); i++ {
		others.Go(func() { errs[i] = c.store(ctx, c.writers[i], batches, parts[i], receipts) })
	}
	errs[0] = c.store(ctx, c.writer, batches, parts[0], receipts)
	others.Wait()
	return settle(receipts, parts, errs)
}

// laneEvents is how large a call is that is worth dividing.
const laneEvents = 256

// divide returns which batches are for which writer. Those of a partition stay together.
func (c *Conn) divide(batches []driver.Batch) [][]int {
	events := 0
	for i := range batches {
		events += len(batches[i].Messages)
	}
	parts := make([][]int, 1, len(c.writers))
	for i := range batches {
		lane := 0
		if events >= laneEvents {
			lane = max(batches[i].Partition, 0) % len(c.writers)
		}
		for lane >= len(parts) {
			parts = append(parts, nil)
		}
		parts[lane] = append(parts[lane], i)
	}
	return parts
}

// store has a writer store some of the batches.
func (c *Conn) store(
	ctx context.Context, w *writer, all []driver.Batch, some []int, receipts []driver.Receipt,
) error {
	if len(some) == 0 && len(all) > 0 {
		return nil
	}
	batches := all
	if len(some) < len(all) {
		batches = make([]driver.Batch, len(some))
		for k, i := range some {
			batches[k] = all[i]
		}
	}
	events := 0
	for i := range batches {
		events += len(batches[i].Messages)
	}
	return w.do(ctx, &job{events: events, batches: batches, run: func(t *tx) error {
		for k, i := range some {
			var err error
			if receipts[i], err = t.append(&batches[k]); err != nil {
				return err
			}
		}
		return nil
	}})
}

// settle puts together what became of the parts of a call. What fails as a whole is an
// error, and what fails in part is in the receipts.
func settle(receipts []driver.Receipt, parts [][]int, errs []error) ([]driver.Receipt, error) {
	tried, failed := 0, 0
	var worst error
	for i, err := range errs {
		if len(parts[i]) > 0 || len(parts) == 1 {
			tried++
		}
		if err == nil {
			continue
		}
		failed++
		if worst == nil || !refused(err) { // what may be stored counts more
			worst = err
		}
		for _, k := range parts[i] {
			receipts[k] = driver.Receipt{Err: fmt.Errorf("deedsql: publish: %w", err)}
		}
	}
	if failed > 0 && failed == tried {
		return nil, fmt.Errorf("deedsql: publish: %w", worst)
	}
	return receipts, nil
}

// append stores one batch. A batch's own failure is in the receipt, and is found
// before anything of it is written; an error is the database's.
func (t *tx) append(b *driver.Batch) (driver.Receipt, error) {
	refuse := func(err error) (driver.Receipt, error) {
		if refused(err) {
			return driver.Receipt{Err: err}, nil
		}
		return driver.Receipt{}, err
	}
	topic, err := t.topic(b.Topic)
	if err != nil {
		return refuse(err)
	}
	if err := topic.accepts(b, t.dialect.limits()); err != nil {
		return refuse(err)
	}
	if err := t.hold(topic, b.Partition); err != nil {
		return driver.Receipt{}, err
	}
	if err := t.sequenceFirst(topic, b.Partition); err != nil {
		return refuse(err)
	}
	at := place{topic.id, b.Partition}
	messages := b.Messages
	var p *producer
	if b.Producer != "" {
		if p, err = t.producer(b.Producer, at); err != nil {
			return driver.Receipt{}, err
		}
		if messages, err = unstored(b, p.last); err != nil {
			return refuse(err)
		}
	}
	h, err := t.head(at)
	if err != nil {
		return refuse(err)
	}
	if err := t.makeRoom(topic, messages); err != nil {
		return refuse(err)
	}
	r, err := t.store(topic, b.Partition, h, messages)
	if err == nil && p != nil && len(messages) > 0 {
		p.last, p.dirty = b.Seq+int64(len(b.Messages))-1, true
	}
	return r, err
}

// store appends messages that are not in the topic's id window.
func (t *tx) store(topic *topic, partition int, h *head, messages []driver.Message) (driver.Receipt, error) {
	var r driver.Receipt
	if len(messages) == 0 {
		return r, nil
	}
	stored := max(t.now, h.stored)
	var known []bool // by the id window
	if topic.settings.Dedupe > 0 {
		var err error
		if known, err = t.remember(topic, messages); err != nil {
			return r, err
		}
	}
	now := 0 // messages that are not delayed
	t.expect(topic.id, messages)
	for i := range messages {
		m := &messages[i]
		if known != nil && known[i] {
			continue
		}
		if !m.NotBefore.IsZero() && m.NotBefore.After(t.time) {
			if err := t.schedule(place{topic.id, partition}, h, m); err != nil {
				return r, err
			}
			r.Stored++
			continue
		}
		h.position++
		h.bytes += int64(len(m.Data))
		if err := t.add(place{topic.id, partition}, h.position, stored, m); err != nil {
			return r, err
		}
		now++
		r.Stored++
	}
	if h.scheduled > 0 {
		t.delayed[topic.id] = true
	}
	if now > 0 {
		h.stored, h.dirty = stored, true
		t.stored += now
		r.Last = driverkit.Position(h.position)
		t.published[topic.id] = true
	}
	return r, nil
}

// whole reports whether what is stored on one partition depends on the others.
func (t *topic) whole() bool { return t.settings.MaxBytes > 0 || t.settings.Dedupe > 0 }

// accepts refuses a batch that can never be stored.
func (t *topic) accepts(b *driver.Batch, most limits) error {
	if t.settings.Streams {
		return fmt.Errorf("topic %s: %w", t.name, driver.ErrStreams)
	}
	if b.Generation != 0 && b.Generation != t.generation {
		return fmt.Errorf("%w: topic %s is at generation %d, the batch's partition was chosen for %d",
			driver.ErrRefused, t.name, t.generation, b.Generation)
	}
	if b.Partition < 0 || b.Partition >= t.settings.Partitions {
		return fmt.Errorf("%w: topic %s has %d partitions and no partition %d",
			driver.ErrRefused, t.name, t.settings.Partitions, b.Partition)
	}
	if b.Producer != "" && b.Seq < 1 {
		return fmt.Errorf("%w: sequence numbers start at 1, this is %d", driver.ErrRefused, b.Seq)
	}
	return t.storable(b.Messages, most)
}

// storable refuses messages that the database cannot keep as they are.
func (t *topic) storable(messages []driver.Message, most limits) error {
	for i := range messages {
		m := &messages[i]
		if !utf8.ValidString(m.ID) || !utf8.ValidString(m.Key) {
			return fmt.Errorf("%w: id %q or key %q is no UTF-8", driver.ErrRefused, m.ID, m.Key)
		}
		if err := most.check(m, t.settings.Dedupe > 0); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a message that is too large, or has text that cannot be stored.
func (l limits) check(m *driver.Message, window bool) error {
	if l.zero {
		for _, text := range [...]string{m.ID, m.Key, m.Source, m.Type} {
			if strings.IndexByte(text, 0) >= 0 {
				return fmt.Errorf("%w: event %.100q has a zero byte in its id, key, source or type", driver.ErrRefused, m.ID)
			}
		}
	}
	name := l.name
	if !window {
		name = 0
	}
	for _, part := range []struct {
		what       string
		size, most int
	}{
		{"data", len(m.Data), l.data}, {"its key", len(m.Key), l.key},
		{"its id, which the id window stores", len(m.ID), name},
		{"its source, which the id window stores", len(m.Source), name},
	} {
		if part.most > 0 && part.size > part.most {
			return fmt.Errorf("%w: event %.100q has %d bytes of %s (at most %d)",
				driver.ErrRefused, m.ID, part.size, part.what, part.most)
		}
	}
	return nil
}

// unstored returns the messages of b that go beyond the producer's last.
func unstored(b *driver.Batch, last int64) ([]driver.Message, error) {
	if b.Seq > last+1 && seeded("gap") {
		return b.Messages, nil
	}
	if b.Seq > last+1 {
		return nil, fmt.Errorf("%w: topic %s partition %d has %d of producer %s, the batch starts at %d",
			driver.ErrGap, b.Topic, b.Partition, last, b.Producer, b.Seq)
	}
	known := last - b.Seq + 1
	if known >= int64(len(b.Messages)) {
		return nil, nil
	}
	return b.Messages[known:], nil
}
