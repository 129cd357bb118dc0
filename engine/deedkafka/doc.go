// Package deedkafka is the engine on Apache Kafka and what speaks its protocol.
//
// A topic is a Kafka topic, a position the offset that comes next. A group on a topic is
// a consumer group of the classic protocol: its members divide the partitions among
// themselves, its offsets are deed's low watermark, and Kafka refuses those of a member
// that is not in the group any more. What deed has to remember of a partition beside its
// offset (the claim's epoch, the run, what was handled before a reset) stands in the
// metadata of that offset, so that one commit stores both.
//
// Kafka has no place for parked events, dead letters and records. A bus with handlers
// names a second engine for them; see driverkit.WithState.
//
// docs/guides/kafka.md describes headers, names and options for programs that read and
// write the topics without deed.
package deedkafka
