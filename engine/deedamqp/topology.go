package deedamqp

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// queueArguments are those of every queue. RabbitMQ 4 drops by itself what was delivered 20
// times, unless the limit says otherwise; deed counts attempts, and sets aside what fails.
func queueArguments() amqp.Table {
	return amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeQuorum, amqp.SingleActiveConsumerArg: true, "x-delivery-limit": int64(1 << 30),
	}
}

const (
	queueSpace  = engineName
	streamSpace = engineName + ".streams"
)

// Space implements [driverkit.Feeder].
func (c *Conn) Space() (own string, others map[string]string) {
	return queueSpace, map[string]string{streamSpace: "it is in RabbitMQ streams (say queues=stream in the URL)"}
}

// MakeTopic implements [driverkit.Feeder].
func (c *Conn) MakeTopic(ctx context.Context, topic string, _ int) error {
	err := checkTopic(topic)
	if err == nil {
		err = c.with(ctx, func(ch *amqp.Channel) error { return c.exchange(ch, topic) })
	}
	return c.fail("exchange "+topic, err)
}

// exchange makes the exchange of a topic, or looks whether it is there.
func (c *Conn) exchange(ch *amqp.Channel, topic string) error {
	if !c.settings.check {
		return ch.ExchangeDeclare(topic, amqp.ExchangeDirect, true, false, false, false, nil)
	}
	err := ch.ExchangeDeclarePassive(topic, amqp.ExchangeDirect, true, false, false, false, nil)
	if notFound(err) {
		err = fmt.Errorf("%w: it is not there, and the URL says topology=check: make a durable direct exchange",
			driver.ErrRefused)
	}
	return err
}

// MakeGroup implements [driverkit.Feeder].
func (c *Conn) MakeGroup(
	ctx context.Context, group, topic string, partitions int, known bool,
) (missing int, err error) {
	if err := checkGroup(group, topic, partitions); err != nil {
		return 0, c.fail("queues of group "+group+" on "+topic, err)
	}
	if err := c.MakeTopic(ctx, topic, partitions); err != nil {
		return 0, err
	}
	for p := range partitions {
		queue := queueName(group, topic, p)
		var err error
		if known || c.settings.check {
			err = c.with(ctx, func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
				return err
			})
		}
		switch {
		case notFound(err) && !c.settings.check:
			missing++
			err = nil
		case notFound(err):
			err = fmt.Errorf("%w: it is not there, and the URL says topology=check: make a quorum queue with %v, bound to "+
				"%s with the key %s", driver.ErrRefused, queueArguments(), topic, routingKey(p))
		}
		if err == nil && !c.settings.check {
			err = c.with(ctx, func(ch *amqp.Channel) error { return makeQueue(ch, queue, topic, p) })
		}
		if err != nil {
			return 0, c.fail("queue "+queue, err)
		}
	}
	return missing, nil
}

// makeQueue makes a queue, or is refused when it is there with other arguments.
func makeQueue(ch *amqp.Channel, queue, topic string, partition int) error {
	if _, err := ch.QueueDeclare(queue, true, false, false, false, queueArguments()); err != nil {
		return err
	}
	return ch.QueueBind(queue, routingKey(partition), topic, false, nil)
}

// DropTopic implements [driverkit.Feeder]. The exchange goes first, so that nothing comes
// any more.
func (c *Conn) DropTopic(ctx context.Context, topic string, partitions int, groups []string) error {
	if err := c.mayDrop(); err != nil {
		return c.fail("delete exchange "+topic, err)
	}
	err := c.with(ctx, func(ch *amqp.Channel) error { return ch.ExchangeDelete(topic, false, false) })
	if err != nil && !notFound(err) {
		return c.fail("delete exchange "+topic, err)
	}
	for _, group := range groups {
		if err := c.DropGroup(ctx, group, topic, partitions); err != nil {
			return err
		}
	}
	return nil
}

// DropGroup implements [driverkit.Feeder].
func (c *Conn) DropGroup(ctx context.Context, group, topic string, partitions int) error {
	what := "delete the queues of group " + group + " on " + topic
	if err := c.mayDrop(); err != nil {
		return c.fail(what, err)
	}
	for p := range partitions {
		err := c.with(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(queueName(group, topic, p), false, false, false)
			return err
		})
		if err != nil && !notFound(err) {
			return c.fail(what, err)
		}
	}
	return nil
}

func (c *Conn) mayDrop() error {
	if c.settings.check {
		return fmt.Errorf("%w: the URL says topology=check: delete it by other means", driver.ErrRefused)
	}
	return nil
}
