// Package deednats is the engine on NATS JetStream, which it uses as a log.
//
// A topic is one JetStream stream with a subject for each partition. A message there is
// a batch, all of it or nothing, and carries the position that its last event has, so
// that positions count 1, 2, 3 … and lag is a subtraction. Whoever appends names the
// message that was the last one of the partition, and the server refuses it when there is
// another by then: so one writer at a time continues a partition, of any process, and a
// producer's sequence is checked against what is really there.
//
// How a group stands on a partition is a journal, one subject of a second stream: claims,
// positions, resets and the side log are entries of it, appended in the same way. A
// member that lost its claim expects an entry that is not the last one any more, and
// writes nothing: that is the fence. JetStream's own consumers are used to read, and never
// acknowledge anything. docs/adr/0017-jetstream-as-a-log.md says why.
package deednats
