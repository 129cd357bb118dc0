package deed

import (
	"context"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// PublishIn announces drafts as part of tx, a transaction of the database that the bus's
// engine lives in: they are there once tx has committed, and never if it does not. Source
// is that of drafts without one. It is for package outbox, which knows whether the engine
// lives there. A topic that is absent is not created, which would take another
// transaction: the error is driver.ErrNotFound, and nothing was done to tx. After any other
// error roll back.
func (b *Bus) PublishIn(ctx context.Context, tx driver.Execer, source string, drafts ...Draft) error {
	intake, ok := driver.As[driver.Intake](b.conn)
	if !ok {
		return fmt.Errorf("deed: publish in a transaction: %s takes none: %w", b.features.Engine, errors.ErrUnsupported)
	}
	if len(drafts) == 0 || Quiet(ctx) {
		return nil
	}
	prepare := preparation{source: source, parent: handlingOf(ctx)}
	batches := make([]driver.Batch, len(drafts))
	spread := b.publisher.spread.Add(1)
	for i := range drafts {
		d := &drafts[i]
		prepare.events = len(drafts) - i
		batch, err := b.batchOf(ctx, d, &prepare, spread)
		if err != nil {
			return fmt.Errorf("deed: publish in a transaction: %w", draftError(i, len(drafts), d, err))
		}
		batches[i] = batch
	}
	if err := intake.PublishIn(ctx, tx, batches); err != nil {
		return fmt.Errorf("deed: %w", b.gone(ctx, batches[0].Topic, batches[0].Generation, err))
	}
	return nil
}

// batchOf makes a batch of one draft.
func (b *Bus) batchOf(ctx context.Context, d *Draft, prepare *preparation, spread uint64) (driver.Batch, error) {
	info, err := b.known(ctx, d.topic)
	if err != nil {
		return driver.Batch{}, err
	}
	e, err := prepare.event(d)
	if err == nil {
		err = b.admit(&e, d.NotBefore)
	}
	if err != nil {
		return driver.Batch{}, err
	}
	m := e.message()
	m.NotBefore = d.NotBefore
	return driver.Batch{
		Topic: info.Name, Generation: info.Generation, Partition: partitionFor(info, &e, spread),
		Messages: []driver.Message{m},
	}, nil
}

// known is topic for one that exists.
func (b *Bus) known(ctx context.Context, t *Topic) (*driver.TopicInfo, error) {
	if t != nil && b.topics.get(t.name) == nil {
		topics, ok := driver.As[driver.Topics](b.conn)
		if !ok {
			return nil, errors.ErrUnsupported
		}
		if _, err := topics.Topic(ctx, t.name); err != nil {
			return nil, err
		}
	}
	return b.topic(ctx, t)
}
