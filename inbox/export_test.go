package inbox

import (
	"context"
	"database/sql"

	"github.com/deedgo/deed"
)

// Handle and HandleBatch return what On and OnBatch give to package deed, so that
// tests decide what is delivered and when.

func Handle[T any](
	db Database, handle func(ctx context.Context, tx *sql.Tx, e deed.Received[T]) error,
) func(context.Context, deed.Received[T]) error {
	in := open(db)
	return func(ctx context.Context, e deed.Received[T]) error { return once(ctx, in, e, handle) }
}

func HandleBatch[T any](
	db Database, handle func(ctx context.Context, tx *sql.Tx, events []deed.Received[T]) error,
) func(context.Context, []deed.Received[T]) error {
	in := open(db)
	return func(ctx context.Context, es []deed.Received[T]) error { return batches(ctx, in, es, handle) }
}
