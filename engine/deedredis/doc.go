// Package deedredis is the engine on Redis Streams: a single server, one that
// sentinels look after, or a cluster.
//
// A partition of a topic is one Redis stream. One member at a time owns it for a
// group, by a claim with an epoch, reads it with XREAD from its own position, and
// stores that position in a script that checks the epoch: Redis' own
// acknowledgements are not fenced and cost the server several times as much. The
// native consumer group is moved along, so that XINFO GROUPS and every Redis tool
// see how far a group is.
//
// All keys of a partition share a hash tag, so what has to be atomic lies in one
// slot. docs/guides/redis.md describes the keys and the fields of an entry, for
// programs that read and write them without deed.
package deedredis
