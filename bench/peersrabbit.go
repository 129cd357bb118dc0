package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// watermillRabbit is watermill on RabbitMQ, on one quorum queue, with the confirms and the
// prefetch of the others.
func watermillRabbit(ctx context.Context, _, url string, handle func([]byte)) (*started, error) {
	config := wamqp.NewDurableQueueConfig(url)
	config.Queue.Arguments = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	config.Consume.Qos.PrefetchCount = rabbitPrefetch
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = rabbitChannels
	publisher, err := wamqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	subscriber, err := wamqp.NewSubscriber(config, watermill.NopLogger{})
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	return startWatermill(ctx, publisher, subscriber, handle)
}
