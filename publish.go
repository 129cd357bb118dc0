package deed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Publish announces drafts and returns when they are durable. Those of one key are
// stored in the order given. On failure a *PublishError tells which drafts are
// surely not stored and which are unknown; deed's own retries never store twice.
// In a handler that sees an event again after a quiet reset nothing is announced.
func (b *Bus) Publish(ctx context.Context, drafts ...Draft) error {
	return b.publish(ctx, drafts, nil)
}

// Receipt is what became of published drafts.
type Receipt struct {
	Stored     int // stored by this call
	Duplicates int // inside the topic's dedupe window, and not stored again

	last []reached // of each partition that something was stored on
}

// reached is a position.
type reached struct {
	topic     string
	partition int
	position  string
}

// Cursor returns where on a topic the drafts lie, for [Bus.WaitFor]. It is empty
// for a topic that nothing was stored on.
func (r Receipt) Cursor(topic string) Cursor {
	positions := make(map[int]string)
	for _, at := range r.last {
		if at.topic == topic {
			positions[at.partition] = at.position
		}
	}
	return cursorOf(positions)
}

// add counts what became of a part. A nil receipt is not asked for.
func (r *Receipt) add(p *part) {
	if r == nil {
		return
	}
	r.Stored += p.receipt.Stored
	r.Duplicates += p.count - p.receipt.Stored
	if p.receipt.Last != "" {
		r.last = append(r.last, reached{p.info.Name, p.partition, p.receipt.Last})
	}
}

// PublishReceipt is Publish for callers who want to know about duplicates.
func (b *Bus) PublishReceipt(ctx context.Context, drafts ...Draft) (Receipt, error) {
	var sum Receipt
	err := b.publish(ctx, drafts, &sum)
	return sum, err
}

func (b *Bus) publish(ctx context.Context, drafts []Draft, sum *Receipt) error {
	if len(drafts) == 0 || Quiet(ctx) {
		return nil
	}
	r := b.publisher.request(len(drafts))
	if err := b.split(ctx, drafts, r); err != nil {
		b.publisher.release(r)
		all := make([]int, len(drafts))
		for i := range all {
			all[i] = i
		}
		return &PublishError{Topic: topicName(&drafts[0]), NotStored: all, Err: err}
	}
	return b.publisher.publish(ctx, r, sum)
}

// admit refuses what the bus or its engine cannot keep.
func (b *Bus) admit(e *Event, notBefore time.Time) error {
	if len(e.Data) > b.opts.MaxEventBytes {
		return fmt.Errorf("event %s has %d bytes of data, more than %d (raise Options.MaxEventBytes, or send a link): %w",
			e.ID, len(e.Data), b.opts.MaxEventBytes, driver.ErrRefused)
	}
	if e.Key != "" && !b.features.KeyOrder {
		return fmt.Errorf("event %s has key %q, and %s keeps no order per key (publish it without one, or open an engine "+
			"that does): %w", e.ID, e.Key, b.features.Engine, errors.ErrUnsupported)
	}
	if !notBefore.IsZero() && !b.features.Delay {
		return fmt.Errorf("%s cannot delay events (unset NotBefore): %w", b.features.Engine, errors.ErrUnsupported)
	}
	return nil
}

// Prepare fills what a draft left empty, as Publish does, encodes its value and
// checks it: for outboxes, which store events before they are published.
func Prepare(ctx context.Context, d Draft, source string) (Event, error) {
	p := preparation{source: source, parent: handlingOf(ctx), events: 1}
	return p.event(&d)
}

// PublishError is a failed Publish.
type PublishError struct {
	Topic     string
	NotStored []int // indexes of drafts that are surely not stored
	Unknown   []int // indexes of drafts that may be stored
	Err       error // the first cause
}

// Error names the topic, how many drafts failed, and the first cause.
func (e *PublishError) Error() string {
	what := fmt.Sprintf("%d not stored", len(e.NotStored))
	if len(e.Unknown) > 0 {
		what += fmt.Sprintf(", %d unknown", len(e.Unknown))
	}
	return fmt.Sprintf("deed: publish: %s: %s: %v", e.Topic, what, e.Err)
}

// Unwrap returns the first cause.
func (e *PublishError) Unwrap() error { return e.Err }

func topicName(d *Draft) string {
	if d.topic == nil {
		return "?"
	}
	return d.topic.name
}

// Sequenced is a run of events with producer stamps, for relays that keep events in
// a store of their own and repeat identical stamps after a crash.
type Sequenced struct {
	Topic     *Topic
	Partition int
	Producer  string
	Seq       int64 // of the first event; contiguous per (Producer, Topic, Partition) from 1
	Events    []Event
}

// PublishSequenced appends each run with its own stamps. The errors are parallel
// to runs: nil means stored, now or before; driver.ErrGap means that an earlier run
// is missing; driver.ErrNotFound that the topic was deleted, or with driver.ErrLost
// that the engine lost it, and that the next call creates it. A run without events asks
// whether all before its Seq is stored.
func (b *Bus) PublishSequenced(ctx context.Context, runs []Sequenced) []error {
	errs := make([]error, len(runs))
	batches := make([]driver.Batch, 0, len(runs))
	index := make([]int, 0, len(runs))
	for i := range runs {
		batch, err := b.sequencedBatch(ctx, &runs[i])
		if err != nil {
			errs[i] = err
			continue
		}
		batches = append(batches, batch)
		index = append(index, i)
	}
	if len(batches) == 0 {
		return errs
	}
	receipts, err := b.conn.Publish(ctx, batches)
	for k, i := range index {
		if errs[i] = err; err == nil {
			errs[i] = receipts[k].Err
		}
		errs[i] = b.gone(ctx, runs[i].Topic.name, batches[k].Generation, errs[i])
	}
	return errs
}

func (b *Bus) sequencedBatch(ctx context.Context, r *Sequenced) (driver.Batch, error) {
	info, err := b.topic(ctx, r.Topic)
	if err != nil {
		return driver.Batch{}, err
	}
	batch := driver.Batch{
		Topic: info.Name, Generation: info.Generation, Partition: r.Partition,
		Producer: r.Producer, Seq: r.Seq, Messages: make([]driver.Message, len(r.Events)),
	}
	for i := range r.Events {
		if err := b.admit(&r.Events[i], time.Time{}); err != nil {
			return batch, err
		}
		batch.Messages[i] = r.Events[i].message()
	}
	return batch, nil
}

// Partition returns the partition of e on t, creating the topic if it has to.
// Events without order are spread.
func (b *Bus) Partition(ctx context.Context, t *Topic, e Event) (int, error) {
	info, err := b.topic(ctx, t)
	if err != nil {
		return 0, err
	}
	return partitionFor(info, &e, b.publisher.spread.Add(1)), nil
}
