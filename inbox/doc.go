// Package inbox makes the effects of handlers happen once: the handler's changes, a
// row that remembers the event, and what the handler publishes through an outbox
// are one transaction of the service's own database.
//
//	inventory := deed.Subscribe("inventory", nil,
//		inbox.On(db, Created, func(ctx context.Context, tx *sql.Tx, e deed.Received[OrderCreated]) error {
//			… change the stock with tx …
//			return box.Publish(ctx, tx, Reserved.New(r))
//		}))
//
// # What it promises
//
// However often an event is delivered, after a crash, a rebalance, by two members at
// once or by a redrive, its handler's transaction commits once per group. The row is
// inserted first, so that of two deliveries one waits for the other and then sees
// the row. A handler that has lost its partition cannot commit: its context is
// cancelled. Where the bus lives in the same database its engine takes the place of the
// row: the transaction settles the event there, unless Options.Keep asks for rows, and
// fails when the claim is lost. A replay with effects, after `deed reset --effects`, is a run of its
// own and happens once per reset.
//
// The handler may run more often than it commits, when the database is busy or the
// process dies: what it does outside of tx is at least once, and
// [deed.IdempotencyKey] is for that. Events are published through an outbox in tx,
// not by the bus itself: that would announce what may be rolled back, and where the
// bus lives in the same SQLite file it would wait for the transaction it is part of.
//
// # Tables
//
// The table deed_inbox is created when the first event comes. [Script] returns the
// SQL for those who create tables by hand. Rows are removed after [Options.Keep].
package inbox
