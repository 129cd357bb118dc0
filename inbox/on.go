package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/deedgo/deed"
)

// On handles the events of one type, each in a transaction of db that commits once
// per event and group. The handler's error rolls it back and is its verdict, as with
// deed.On.
func On[T any](
	db Database, t *deed.Type[T], handle func(ctx context.Context, tx *sql.Tx, e deed.Received[T]) error,
) deed.Handler {
	in := open(db)
	return deed.Rehearsed(deed.On(t, func(ctx context.Context, e deed.Received[T]) error {
		return once(ctx, in, e, handle)
	}))
}

// OnAny handles all events of a topic that no other handler of the subscription is
// for, with their data as bytes, as On does.
func OnAny(
	db Database, t *deed.Topic, handle func(ctx context.Context, tx *sql.Tx, e deed.Received[[]byte]) error,
) deed.Handler {
	in := open(db)
	return deed.Rehearsed(deed.OnAny(t, func(ctx context.Context, e deed.Received[[]byte]) error {
		return once(ctx, in, e, handle)
	}))
}

func once[T any](
	ctx context.Context, in *Inbox, e deed.Received[T],
	handle func(ctx context.Context, tx *sql.Tx, e deed.Received[T]) error,
) error {
	n, err := in.notesOf(ctx, &e.Delivery)
	if err != nil {
		return err
	}
	if seeded("inbox") {
		return onceApart(ctx, in, n, e, handle)
	}
	rs := []receipt{receiptOf(e.Event, e.Delivery)}
	return in.do(ctx, e.Lease, func(ctx context.Context, tx *sql.Tx) error {
		before, err := n.before(ctx, tx, rs)
		if err != nil || before[0] {
			return err
		}
		if err := handle(ctx, tx, e); err != nil {
			return err
		}
		return n.after(ctx, tx, rs)
	})
}

// onceApart is the planted bug "inbox": the note commits before the effect does.
func onceApart[T any](
	ctx context.Context, in *Inbox, n notes, e deed.Received[T],
	handle func(ctx context.Context, tx *sql.Tx, e deed.Received[T]) error,
) error {
	rs := []receipt{receiptOf(e.Event, e.Delivery)}
	var before []bool
	err := in.do(ctx, e.Lease, func(ctx context.Context, tx *sql.Tx) (err error) {
		if before, err = n.before(ctx, tx, rs); err != nil || before[0] {
			return err
		}
		return n.after(ctx, tx, rs)
	})
	if err != nil || before[0] {
		return err
	}
	return in.do(ctx, e.Lease, func(ctx context.Context, tx *sql.Tx) error { return handle(ctx, tx, e) })
}

// OnBatch handles up to limit events of one type in one transaction, all or nothing.
// The handler sees those that were not handled before. When it returns a
// deed.BatchError the transaction is rolled back and the handler runs again without
// the failed events and those behind them of the same keys; on any other error the
// events are handled again one by one.
func OnBatch[T any](
	db Database, t *deed.Type[T], limit int,
	handle func(ctx context.Context, tx *sql.Tx, events []deed.Received[T]) error,
) deed.Handler {
	in := open(db)
	return deed.Rehearsed(deed.OnBatch(t, limit, func(ctx context.Context, events []deed.Received[T]) error {
		return batches(ctx, in, events, handle)
	}))
}

// batches runs transactions until one commits. Each but the last takes at least one
// event out.
func batches[T any](
	ctx context.Context, in *Inbox, events []deed.Received[T],
	handle func(ctx context.Context, tx *sql.Tx, events []deed.Received[T]) error,
) error {
	failed := make(deed.BatchError)
	for {
		err := batch(ctx, in, events, failed, handle)
		var some deed.BatchError
		switch {
		case err == nil && len(failed) > 0:
			return failed
		case err == nil || !errors.As(err, &some):
			return err
		case !exclude(events, failed, some):
			return fmt.Errorf("inbox: the batch handler failed events that it was not given: %w", err)
		}
	}
}

// batch handles those events that did not fail and are new. A BatchError that it
// returns has indexes into events.
func batch[T any](
	ctx context.Context, in *Inbox, events []deed.Received[T], failed deed.BatchError,
	handle func(ctx context.Context, tx *sql.Tx, events []deed.Received[T]) error,
) error {
	n, err := in.notesOf(ctx, &events[0].Delivery)
	if err != nil {
		return err
	}
	return in.do(ctx, events[0].Lease, func(ctx context.Context, tx *sql.Tx) error {
		fresh, index, err := fresh(ctx, tx, n, events, failed)
		if err != nil || len(index) == 0 {
			return err
		}
		if err := handle(ctx, tx, fresh); err != nil {
			return placed(err, index)
		}
		rs := make([]receipt, len(fresh))
		for i, e := range fresh {
			rs[i] = receiptOf(e.Event, e.Delivery)
		}
		return n.after(ctx, tx, rs)
	})
}

// fresh returns those events that did not fail and were not handled before, with their
// indexes.
func fresh[T any](
	ctx context.Context, tx *sql.Tx, n notes, events []deed.Received[T], failed deed.BatchError,
) (fresh []deed.Received[T], index []int, err error) {
	var rs []receipt
	var all []int
	for i, e := range events {
		if failed[i] == nil {
			rs, all = append(rs, receiptOf(e.Event, e.Delivery)), append(all, i)
		}
	}
	before, err := n.before(ctx, tx, rs)
	if err != nil {
		return nil, nil, err
	}
	for k, i := range all {
		if !before[k] {
			fresh, index = append(fresh, events[i]), append(index, i)
		}
	}
	return fresh, index, nil
}

// placed gives a BatchError the indexes of the whole batch.
func placed(err error, index []int) error {
	var some deed.BatchError
	if !errors.As(err, &some) {
		return err
	}
	placed := make(deed.BatchError, len(some))
	for i, e := range some {
		if i >= 0 && i < len(index) && e != nil {
			placed[index[i]] = e
		}
	}
	return placed
}

var errBehind = errors.New("waits behind a failed event of its key")

// exclude adds the failed events, and those behind them of the same keys, to failed.
// It reports whether there were any.
func exclude[T any](events []deed.Received[T], failed, some deed.BatchError) bool {
	added := false
	keys := make(map[string]bool)
	for i, e := range events {
		switch err := some[i]; {
		case failed[i] != nil:
		case err != nil:
			failed[i] = err
			added = true
		case e.Key != "" && keys[e.Key]:
			failed[i] = errBehind
		}
		if failed[i] != nil {
			keys[e.Key] = true
		}
	}
	return added
}
