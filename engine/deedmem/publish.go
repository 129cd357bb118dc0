package deedmem

import (
	"context"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Publish appends batches; see driver.Conn.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	pieces := make([]*piece, len(batches)) // made before the store is locked
	for i := range batches {
		pieces[i] = newPiece(batches[i].Messages)
	}
	if err := c.enter(ctx); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("mem: %w: %w", driver.ErrNotStored, err)
		}
		return nil, err
	}
	defer c.store.mu.Unlock()
	receipts := make([]driver.Receipt, len(batches))
	at := now()
	for i := range batches {
		receipts[i] = c.store.append(&batches[i], pieces[i], at)
	}
	return receipts, nil
}

// append stores one batch, whose messages have been copied to a piece.
func (s *store) append(b *driver.Batch, copied *piece, at time.Time) driver.Receipt {
	t, err := s.topicNamed(b.Topic)
	if err == nil {
		err = t.check(b)
	}
	if err != nil {
		return driver.Receipt{Err: err}
	}
	p := t.parts[b.Partition]
	known, err := p.continues(b)
	if err != nil {
		return driver.Receipt{Err: err}
	}
	if known == len(b.Messages) {
		return driver.Receipt{}
	}
	if err := t.room(); err != nil {
		return driver.Receipt{Err: err}
	}
	first, delayed, stamp := p.last, 0, p.stamp(at)
	from := reader{piece: copied}
	for i := range b.Messages {
		m := &b.Messages[i]
		e := from.next(m)
		if i < known || t.window.seen(m, at, t.info.Dedupe) {
			continue
		}
		if !m.NotBefore.IsZero() && m.NotBefore.After(at) {
			s.delay(t, m, copied.data[e.data:][:e.bytes:e.bytes], b.Partition)
			delayed++
			continue
		}
		p.add(m, e, copied, stamp)
		t.bytes += int64(e.bytes)
	}
	if b.Producer != "" {
		p.producers[b.Producer] = b.Seq + int64(len(b.Messages)) - 1
	}
	stored := int(p.last - first)
	if stored == 0 {
		return driver.Receipt{Stored: delayed}
	}
	t.announce(b.Partition)
	return driver.Receipt{Stored: stored + delayed, Last: driverkit.Position(p.last)}
}

// announce tells those who wait for events of a partition.
func (t *topic) announce(partition int) {
	for _, g := range t.groups {
		if owner := g.readings[partition].owner; owner != nil {
			owner.notify()
		}
	}
}

// check reports what makes a batch unacceptable to the topic.
func (t *topic) check(b *driver.Batch) error {
	name := t.info.Name
	if t.info.Streams {
		return fmt.Errorf("mem: topic %q: %w", name, driver.ErrStreams)
	}
	if b.Generation != 0 && b.Generation != t.info.Generation {
		return fmt.Errorf("mem: topic %q is at generation %d, the batch at %d (describe the topic again): %w",
			name, t.info.Generation, b.Generation, driver.ErrRefused)
	}
	if b.Partition < 0 || b.Partition >= len(t.parts) {
		return fmt.Errorf("mem: topic %q has %d partitions and no number %d: %w",
			name, len(t.parts), b.Partition, driver.ErrRefused)
	}
	if b.Producer != "" && b.Seq < 1 {
		return fmt.Errorf("mem: topic %q: sequence %d of producer %q (want 1 or more): %w",
			name, b.Seq, b.Producer, driver.ErrRefused)
	}
	return nil
}

// continues returns how many of the batch's messages the partition has already by
// their sequence, or ErrGap.
func (p *partition) continues(b *driver.Batch) (known int, err error) {
	if b.Producer == "" {
		return 0, nil
	}
	last := p.producers[b.Producer]
	if b.Seq > last+1 {
		return 0, fmt.Errorf("mem: topic %q partition %d: producer %q sent %d after %d: %w",
			b.Topic, b.Partition, b.Producer, b.Seq, last, driver.ErrGap)
	}
	return int(min(last+1-b.Seq, int64(len(b.Messages)))), nil
}
