// Package outbox publishes events from inside the service's own database
// transaction: either both the change and its events happen, or neither.
//
//	box := outbox.New(db, "/orders", nil)
//	err := db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
//		… change the order …
//		return box.Publish(ctx, tx, Created.New(order))
//	})
//	err = bus.Run(ctx, box, …) // the relay moves committed events to the bus
//
// # What it promises
//
// An event of a committed transaction reaches the bus, one of a transaction that
// rolled back never does. It is stored there once: before it is sent a row is
// stamped, in a committed transaction, with a producer and a sequence number, and a
// relay that crashed sends the same stamps again, which the engine recognises. Any
// number of relays may run on one database.
//
// Events of one key keep the order in which their transactions committed. An event
// that the engine refuses for ever (too large, as a rule) is set aside with the
// reason, logged, listed by [Outbox.Refused] and sent again by [Outbox.Retry]; the
// events behind it go on, so for that key order is given up and the log says so.
//
// Rows stay for Options.Keep after they were sent. When the engine lost events that
// it had acknowledged, as a server does that was killed or failed over, the relay
// finds a gap: when it starts, with the next event, or when it asks, which it does every
// two seconds. It then sends again what it still has; the engine recognises what it
// kept. A topic that was deleted is left at that.
//
// # Tables
//
// New creates the table deed_outbox when it is absent. [Script] returns the SQL for
// those who create tables by hand.
package outbox
