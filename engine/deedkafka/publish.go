package deedkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// headerBytes is about what an event takes beside its data.
const headerBytes = 300

// Publish implements [driver.Conn]. The client numbers what it sends, so that what it
// repeats is stored once. Batches of a partition go one after the other in one stream;
// one that fails lets those after it in the call fail too, for they would overtake it.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	receipts := make([]driver.Receipt, len(batches))
	w := writing{c: c, broken: make(map[place]error), sent: make(map[place]int)}
	for i := range batches {
		b, r := &batches[i], &receipts[i]
		if r.Err = c.accepts(ctx, b); r.Err != nil {
			r.Err = c.fail("publish to "+b.Topic, r.Err)
			continue
		}
		w.write(b, r)
	}
	w.done.Wait()
	for i := range receipts {
		r := &receipts[i]
		if r.Err == nil || len(batches[i].Messages) == 0 {
			continue
		}
		if errors.Is(r.Err, kerr.UnknownTopicOrPartition) || errors.Is(r.Err, kerr.UnknownTopicID) {
			c.forget(batches[i].Topic)
		}
		r.Err = c.outcome(&batches[i], r)
	}
	return receipts, nil
}

// place is a partition.
type place struct {
	topic     string
	partition int
}

// writing is a Publish call in progress.
type writing struct {
	c    *Conn
	sent map[place]int // bytes on their way
	done sync.WaitGroup

	mu     sync.Mutex // of receipts, too
	broken map[place]error
}

// write sends a batch. Where something before it on its partition has failed it stops: the
// rest would overtake that.
func (w *writing) write(b *driver.Batch, r *driver.Receipt) {
	to := place{b.Topic, b.Partition}
	said := func(rec *kgo.Record, err error) {
		defer w.done.Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			r.Err, w.broken[to] = also(r.Err, err), err
			return
		}
		r.Stored++
		r.Last = driverkit.Position(rec.Offset + 1)
	}
	for j := range b.Messages {
		size := len(b.Messages[j].Data) + headerBytes
		if w.sent[to] += size; w.sent[to] > chunk {
			w.done.Wait()
			w.sent = map[place]int{to: size}
		}
		w.mu.Lock()
		if err := w.broken[to]; err != nil {
			r.Err = also(r.Err, err)
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.done.Add(1)
		// Sent in the background of ctx: a record that is on its way cannot be called
		// back, and the outcome of half a batch helps nobody. patience bounds it.
		w.c.client.Produce(w.c.ctx, w.c.settings.record(&b.Messages[j], b.Topic, b.Partition), said)
	}
}

// errMixed is several errors, of which some may mean that nothing is stored, and some not.
var errMixed = errors.New("several errors")

// also adds a record's error to those of the batch, of which there may be thousands.
func also(all, err error) error {
	switch {
	case all == nil:
		return err
	case errors.Is(all, err), errors.Is(all, errMixed):
		return all
	}
	return fmt.Errorf("%w: %v, and %v", errMixed, all, err)
}

// outcome is the error of a batch of which not all was stored.
func (c *Conn) outcome(b *driver.Batch, r *driver.Receipt) error {
	err := c.fail("publish to "+b.Topic, r.Err)
	// A batch that Close met on its way may be stored, and that says that it is not.
	if r.Stored > 0 && driver.NothingStored(err) || errors.Is(err, driver.ErrClosed) {
		return fmt.Errorf("deedkafka: publish to %s: %d of %d events are known to be stored, and then: %v",
			b.Topic, r.Stored, len(b.Messages), err)
	}
	return err
}

// accepts refuses a batch before any of it is sent.
func (c *Conn) accepts(ctx context.Context, b *driver.Batch) error {
	t, err := c.recent(ctx, b.Topic)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	case b.Generation != 0 && b.Generation != t.entry.Generation:
		return fmt.Errorf("%w: the topic is in generation %d, the batch for %d",
			driver.ErrRefused, t.entry.Generation, b.Generation)
	case b.Partition < 0 || b.Partition >= len(t.detail.Partitions):
		return fmt.Errorf("%w: partition %d of %d", driver.ErrRefused, b.Partition, len(t.detail.Partitions))
	}
	c.begin(t)
	for i := range b.Messages {
		m := &b.Messages[i]
		switch {
		case len(m.Data) > maxData:
			return fmt.Errorf("%w: event %s has %d bytes of data (at most %d)", driver.ErrRefused, m.ID, len(m.Data), maxData)
		case !m.NotBefore.IsZero():
			return fmt.Errorf("%w: event %s is delayed, which Kafka does not keep", driver.ErrRefused, m.ID)
		}
	}
	return nil
}

// forget makes the next call look at the topic anew.
func (c *Conn) forget(name string) {
	c.mu.Lock()
	delete(c.topics, name)
	c.mu.Unlock()
}

// begin notes that this connection produces to a topic. In a new life of a name the client
// counts its sequences anew; in the same one it must not, for a broker takes a sequence
// that comes again for a repetition, and stores nothing.
func (c *Conn) begin(t *topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.produced[t.name]; ok && last != t.detail.ID {
		c.client.PurgeTopicsFromProducing(t.name)
	}
	c.produced[t.name] = t.detail.ID
}
