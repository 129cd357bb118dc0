package torture

import "testing"

// These run beside no other test: a node takes as much of the processors when it starts as
// many others together, and is started again and again.

func TestRabbitMQ(t *testing.T) {
	torturedOn(t, "rabbitmq")
}

func TestRabbitMQStreams(t *testing.T) {
	torturedOn(t, "rabbitmq-streams")
}
