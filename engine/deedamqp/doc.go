// Package deedamqp is the engine on RabbitMQ, over AMQP 0-9-1.
//
// A topic is a durable direct exchange, a partition a routing key. Each partition of each
// group has a quorum queue with a single active consumer. RabbitMQ has no place for claims,
// positions and dead letters: a second engine keeps them, see driverkit.WithState, and this
// one feeds it what waits in the queues, as a driverkit.Feeder.
//
// With queues=stream in the URL each partition has one RabbitMQ stream instead, for all
// groups, and a position is a message's offset in it. Streams here are RabbitMQ's.
//
// A message is an event as CloudEvents' AMQP binding has it. Its header "deed-at" says, in
// nanoseconds since 1970, when it was published. Its position in a queue is that number, or the one
// after its predecessor's if that is larger. So positions grow in the order of the queue,
// and whoever reads it finds the same ones, from what was settled on.
//
// docs/guides/rabbitmq.md describes names, headers and options for programs that publish
// and consume without deed.
package deedamqp
