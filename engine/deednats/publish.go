package deednats

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Publish implements [driver.Conn]. Partitions are appended to beside each other, the
// batches of each one after the other.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("deednats: publish: %w: %w", driver.ErrNotStored, err)
	}
	type place struct {
		topic     string
		partition int
	}
	of := make(map[place][]int)
	for i := range batches {
		at := place{batches[i].Topic, batches[i].Partition}
		of[at] = append(of[at], i)
	}
	receipts := make([]driver.Receipt, len(batches))
	var done sync.WaitGroup
	for _, list := range of {
		each := func() {
			for _, i := range list {
				receipts[i] = c.append(ctx, &batches[i])
			}
		}
		if len(of) == 1 {
			each()
			continue
		}
		done.Go(each)
	}
	done.Wait()
	return receipts, nil
}

// append stores a batch.
func (c *Conn) append(ctx context.Context, b *driver.Batch) (r driver.Receipt) {
	t, err := c.publishing(ctx, b)
	if err != nil {
		err = driverkit.Unsent(explain(err))
	} else {
		r, err = t.parts[b.Partition].append(ctx, t, b)
	}
	if err != nil {
		r = driver.Receipt{Err: fmt.Errorf("deednats: publish to %s partition %d: %w", b.Topic, b.Partition, explain(err))}
	}
	return r
}

// publishing checks a batch and returns its topic.
func (c *Conn) publishing(ctx context.Context, b *driver.Batch) (*topic, error) {
	t, err := c.topic(ctx, b.Topic)
	if err == nil && b.Generation != 0 && b.Generation != t.life.generation {
		if t, err = c.lookup(ctx, b.Topic); err == nil && b.Generation != t.life.generation {
			err = fmt.Errorf("%w: the topic is at generation %d, the batch at %d (describe the topic again)",
				driver.ErrRefused, t.life.generation, b.Generation)
			if b.Generation > t.life.generation {
				err = fmt.Errorf("%w: %w", driver.ErrLost, err)
			}
		}
	}
	switch {
	case err != nil:
		return nil, err
	case b.Partition < 0 || b.Partition >= len(t.parts):
		return nil, fmt.Errorf("%w: topic %s has %d partitions", driver.ErrRefused, b.Topic, len(t.parts))
	case b.Producer != "" && b.Seq < 1:
		return nil, fmt.Errorf("%w: producer %s begins at %d (want 1 or more)", driver.ErrRefused, b.Producer, b.Seq)
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		if len(m.Data) > c.features.MaxEventBytes {
			return nil, fmt.Errorf("%w: event %s has %d bytes (at most %d)",
				driver.ErrRefused, m.ID, len(m.Data), c.features.MaxEventBytes)
		}
		if !m.NotBefore.IsZero() {
			return nil, fmt.Errorf("%w: event %s is delayed, which this engine cannot", driver.ErrRefused, m.ID)
		}
	}
	return t, nil
}

// append stores a batch, and tries again as long as others are faster.
func (p *partition) append(ctx context.Context, t *topic, b *driver.Batch) (driver.Receipt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var r driver.Receipt
	fresh := false // what is known is what there is
	for turn := 0; ; turn++ {
		if !fresh && (!p.loaded || len(b.Messages) == 0) {
			if err := p.refresh(ctx); err != nil {
				return r, p.reread(ctx, b, driverkit.Unsent(err))
			}
			fresh = true
		}
		known, err := p.continues(b)
		if !fresh && (err != nil || known > 0) { // another process may have continued the sequence
			p.loaded = false
			continue
		}
		if err != nil || known == len(b.Messages) {
			return r, err
		}
		if err := p.conn.room(ctx, t, b); err != nil {
			return r, driverkit.Unsent(err)
		}
		rest := *b
		rest.Seq, rest.Messages = b.Seq+int64(known), b.Messages[known:]
		if t.info.Dedupe > 0 {
			err = p.single(ctx, &rest, &r)
		} else {
			err = p.whole(ctx, &rest, &r)
		}
		if err == nil {
			p.afterwards(ctx)
			return r, nil
		}
		p.loaded, fresh = false, false
		if !errors.Is(err, errMoved) {
			return r, p.reread(ctx, b, err)
		}
		if err := pause(ctx, turn); err != nil {
			return r, driverkit.Unsent(err)
		}
	}
}

// reread tells a topic that is gone, as when it was deleted, from a server that is.
func (p *partition) reread(ctx context.Context, b *driver.Batch, err error) error {
	if !errors.Is(err, errNoStream) {
		return err
	}
	t, missing := p.conn.lookup(ctx, b.Topic)
	switch {
	case missing != nil:
		return driverkit.Unsent(missing)
	case t.life != p.life:
		return fmt.Errorf("%w: the topic was made anew (describe it again)", driver.ErrRefused)
	}
	return err
}

// whole stores all events as one message.
func (p *partition) whole(ctx context.Context, b *driver.Batch, r *driver.Receipt) error {
	var data, scratch []byte
	size := 0
	for i := range b.Messages {
		data, scratch = appendEvent(data, scratch, &b.Messages[i])
		size += len(b.Messages[i].Data)
	}
	return p.write(ctx, b, 0, len(b.Messages), size, data, r)
}

// write stores some events of a batch, from one up to another, as a message. What does not
// fit into it is stored first, where nobody looks until the message names it.
func (p *partition) write(
	ctx context.Context, b *driver.Batch, from, to, size int, data []byte, r *driver.Receipt, opts ...jetstream.PublishOpt,
) (err error) {
	s := stamp{last: p.end.last + int64(to-from), bytes: p.end.bytes + int64(size), count: int64(to - from)}
	if b.Producer != "" {
		s.producer, s.seq = b.Producer, b.Seq+int64(to)-1
	}
	if int64(len(data)) > p.conn.nc.MaxPayload()-overhead {
		if s.large, err = p.conn.writeBlob(ctx, p.conn.names.large(p.life, p.number), data); err != nil {
			return driverkit.Unsent(err)
		}
		data = nil
	}
	opts = append(opts, jetstream.WithExpectLastSequencePerSubject(p.end.seq))
	ack, err := p.conn.publishAck(ctx, newMessage(p.subject(), s, data), opts...)
	if errors.Is(err, errMoved) || err == nil && ack.Duplicate { // else the message may be there
		_ = p.conn.removeBlob(ctx, p.stream(), s.large)
	}
	if err != nil || ack.Duplicate {
		return err
	}
	now := p.conn.now()
	p.note(&s, now)
	p.end = end{ack.Sequence, s.last, s.bytes, now}
	r.Stored += to - from
	if to > from {
		r.Last = driverkit.Position(s.last)
	}
	return nil
}

// single stores each event as a message of its own, whose id lets the server drop one that
// came before. What was dropped counts in the producer's sequence, so a batch that ends
// with such a one is followed by a message without events.
func (p *partition) single(ctx context.Context, b *driver.Batch, r *driver.Receipt) error {
	var data, scratch []byte
	for i := range b.Messages {
		m := &b.Messages[i]
		data, scratch = appendEvent(data[:0], scratch, m)
		before := p.end.seq
		err := p.write(ctx, b, i, i+1, len(m.Data), data, r, jetstream.WithMsgID(p.identity(m)))
		if err != nil {
			return err
		}
		if last := i == len(b.Messages)-1; last && p.end.seq == before && b.Producer != "" {
			return p.write(ctx, b, i+1, i+1, 0, nil, r)
		}
	}
	return nil
}

// identity is a message id: JetStream's are of the whole stream, deed's of a partition.
func (p *partition) identity(m *driver.Message) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(p.number) + "\x00" + m.Source + "\x00" + m.ID))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// afterwards writes down the producers when it is time.
func (p *partition) afterwards(ctx context.Context) {
	if p.unwritten >= writeDown {
		_ = p.writeProducers(ctx) // else the next one does
	}
}
