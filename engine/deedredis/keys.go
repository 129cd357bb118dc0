package deedredis

import (
	"strconv"
	"strings"
)

// keys names what a connection's topics are stored under.
type keys struct{ prefix string }

// topics is a set of all topics' names.
func (k keys) topics() string { return k.prefix + ":topics" }

// numbers counts the topics ever made; see letterID.
func (k keys) numbers() string { return k.prefix + ":numbers" }

// changes is the channel that tells of members coming and going.
func (k keys) changes() string { return k.prefix + ":changes" }

// records is a hash by name: a version, and after a colon the data. The names are a sorted
// set beside it, and the last version is the hash's field "".
func (k keys) records() []string {
	records := k.prefix + ":records:{records}"
	return []string{records, records + ":names"}
}

// topic is a hash: the settings. It stays when the topic is deleted, for the
// generation.
func (k keys) topic(topic string) string { return k.prefix + ":{" + topic + "}" }

// groups is a set of the topic's groups.
func (k keys) groups(topic string) string { return k.topic(topic) + ":groups" }

// group is a hash: what is not of a partition. Its seats are a sorted set by the
// milliseconds at which they run out.
func (k keys) group(topic, group string) string { return k.topic(topic) + ":group:" + group }
func (k keys) seats(topic, group string) string { return k.group(topic, group) + ":seats" }

// log is the stream of a partition.
func (k keys) log(topic string, partition int) string {
	return k.prefix + ":{" + topic + ":" + strconv.Itoa(partition) + "}"
}

// partition returns what most scripts take: the log, the marker and the producers.
func (k keys) partition(topic string, partition int) []string {
	log := k.log(topic, partition)
	return []string{log, log + ":meta", log + ":producers"}
}

// stream returns what the script of a stream takes: the log, the marker, the stream's ids
// and the keys of all streams.
func (k keys) stream(topic string, partition int, key string) []string {
	log := k.log(topic, partition)
	return []string{log, log + ":meta", log + ":stream:" + key, log + ":streams"}
}

// claim is a hash: how a group stands on a partition.
func (k keys) claim(topic string, partition int, group string) string {
	return k.log(topic, partition) + ":group:" + group
}

// A chain is a key as the side log sorts it: no chain is the beginning of another.
const chainEnd = "\x00\x01"

func chainOf(key string) string {
	if key == "" {
		return ""
	}
	return strings.ReplaceAll(key, "\x00", "\x00\xff") + chainEnd
}

func keyOf(chain string) string {
	return strings.ReplaceAll(strings.TrimSuffix(chain, chainEnd), "\x00\xff", "\x00")
}
