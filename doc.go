// Package deed is event-driven architecture for services: a service announces what
// happened, whoever cares responds, nothing is lost and nothing is done twice.
//
// # Announce
//
// A [Topic] names a log of events, a [Type] ties a Go type to an explicit, versioned
// name and to the key that order is kept by. Both are values without a connection.
//
//	var Orders = deed.NewTopic("orders", nil)
//	var Created = deed.NewType(Orders, "orders.created", 1, func(o OrderCreated) string { return o.OrderID })
//
//	err := bus.Publish(ctx, Created.New(o)) // durable when it returns nil
//
// A [Bus] is a handle on an engine, the place where topics live; package engine opens
// it by URL. To publish within a database transaction, use package outbox.
//
// # Respond
//
// A [Subscription] is a group with its handlers. Members of a group share the topics;
// every group sees every event. A handler is a function that returns an error.
//
//	inventory := deed.Subscribe("inventory", nil,
//		deed.On(Created, func(ctx context.Context, e deed.Received[OrderCreated]) error {
//			return reserve(ctx, e.Data.Items)
//		}))
//	err := bus.Run(ctx, inventory) // until ctx ends, then a clean drain
//
// Events of one key are handled one at a time, in the order they were published;
// different keys in parallel.
//
// # When it fails
//
// An error means: try again later, by the subscription's [Retry]. [Reject] gives up at
// once, [RetryAfter] says when. An event given up becomes a dead letter, with its
// reason; later events of its key wait behind it, so that order survives, and go on
// when it is redriven or discarded (package deadletter). An event that ends the
// process time after time becomes a dead letter too, and no other with it. When most
// events fail at once, what they call is down: the partition pauses and probes.
//
// # Effects once
//
// A handler may be called again for an event that it has handled: after a crash, when
// a partition moves. Package inbox makes its effect on a database happen once. For a
// call to another system, [IdempotencyKey] names the effect.
//
// # Stop
//
// In this order: the HTTP server's Shutdown, so that no new work comes; the context of
// Run ends, handlers finish, the outbox's relay makes a last pass; [Bus.Close]; the
// database's Close.
package deed
