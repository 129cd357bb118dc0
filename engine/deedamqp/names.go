package deedamqp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/deedgo/deed/driver"
)

// The exchange of a topic has its name. The queue of a partition is TOPIC/GROUP/PARTITION,
// with %2F for a slash in a name and %25 for a percent sign, its stream TOPIC/PARTITION.

const maxName = 255 // bytes of a name in AMQP

var escapes = strings.NewReplacer("%", "%25", "/", "%2F")

func queueName(group, topic string, partition int) string {
	return escapes.Replace(topic) + "/" + escapes.Replace(group) + "/" + strconv.Itoa(partition)
}

// streamName is that of a partition's stream. No group has a queue of this name.
func streamName(topic string, partition int) string {
	return escapes.Replace(topic) + "/" + strconv.Itoa(partition)
}

// lockName is that of a queue that whoever makes a topic's streams has to itself.
func lockName(topic string) string { return escapes.Replace(topic) + "/making" }

// markerKey is what the marker of a partition's stream is published by.
func markerKey(partition int) string { return "marker/" + strconv.Itoa(partition) }

// routingKey is what a partition's queues are bound by.
func routingKey(partition int) string { return strconv.Itoa(partition) }

// askKey is what the members of a group are asked by, see ask.go. No partition has it.
func askKey(group string) string { return "ask/" + group }

// checkTopic refuses a name that RabbitMQ would, in words.
func checkTopic(name string) error {
	if name == "" || len(name) > maxName || strings.HasPrefix(name, "amq.") {
		return fmt.Errorf("%w: topic %.40q cannot be an exchange (want 1 to %d bytes that do not begin with amq.)",
			driver.ErrRefused, name, maxName)
	}
	return nil
}

// checkGroup refuses names that make too long ones for queues.
func checkGroup(group, topic string, partitions int) error {
	if name := queueName(group, topic, partitions); len(name) > maxName {
		return fmt.Errorf("%w: a queue of group %.40q on topic %.40q would have a name of %d bytes (at most %d)",
			driver.ErrRefused, group, topic, len(name), maxName)
	}
	return nil
}
