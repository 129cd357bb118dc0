package deedamqp

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// Examine looks at the server that url names and tells what it is and is not set up to
// keep. What policies change the protocol does not tell.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	c, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	conn, err := c.reads.get(ctx)
	if err != nil {
		return nil, c.fail("examine", err)
	}
	version, err := inspect(conn, c.settings.streams)
	if err != nil {
		return nil, c.fail("examine", err)
	}
	found := []driver.Finding{
		{Result: driver.Good, What: "server", Value: fmt.Sprintf("RabbitMQ %s at %s", version, conn.RemoteAddr())},
		replicas,
		heartbeat(conn.Config.Heartbeat.String(), conn.Config.Heartbeat > c.settings.heartbeat || conn.Config.Heartbeat == 0),
	}
	return append(found, c.rights(ctx)), nil
}

var replicas = driver.Finding{Result: driver.Good, What: "replicas",
	Value: "on a cluster a minority of them may be lost; how many there are the protocol does not tell"}

func heartbeat(value string, slow bool) driver.Finding {
	f := driver.Finding{Result: driver.Good, What: "heartbeat", Value: value}
	if slow {
		f.Result, f.Advice = driver.Wrong, "a member that is frozen keeps its queues for longer than its lease: "+
			"let the server have heartbeats"
	}
	return f
}

// rights looks whether the user may make queues.
func (c *Conn) rights(ctx context.Context) driver.Finding {
	f := driver.Finding{Result: driver.Good, What: "topology", Value: "the user may make and delete queues"}
	err := c.with(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare("", false, true, true, false, nil)
		return err
	})
	switch {
	case c.settings.check:
		f.Value = "is looked at and never changed (topology=check)"
	case code(err) == amqp.AccessRefused:
		f.Result, f.Value = driver.Wrong, "the user may not make queues"
		f.Advice = "give it the right to configure (rabbitmqctl set_permissions), or make them, and say topology=check " +
			"in the URL"
	case err != nil:
		f.Result, f.Value = driver.Wrong, err.Error()
	}
	if c.settings.check && code(err) == amqp.AccessRefused {
		f.Result, f.Advice = driver.Noted, "members cannot answer how much they have, which lag then leaves out: "+
			"give the user the right to configure ^amq\\.gen-"
	}
	return f
}
