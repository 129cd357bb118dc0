package torture

import "testing"

func TestRabbitMQ(t *testing.T) {
	t.Parallel() // it mostly waits
	torturedOn(t, "rabbitmq")
}

func TestRabbitMQStreams(t *testing.T) {
	t.Parallel() // it mostly waits
	torturedOn(t, "rabbitmq-streams")
}
