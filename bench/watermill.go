package main

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// watermillChannel is watermill's Pub/Sub within a process.
func watermillChannel(name string) system {
	return system{name: name, durability: "memory",
		start: func(ctx context.Context, _ string, handle func([]byte)) (*started, error) {
			channel := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1024}, watermill.NopLogger{})
			messages, err := channel.Subscribe(ctx, "orders")
			if err != nil {
				return nil, err
			}
			var handling sync.WaitGroup
			handling.Go(func() { watermillHandle(messages, handle) })
			return &started{
				publish: func(_ context.Context, events []event) error {
					return channel.Publish("orders", watermillBatch(events)...)
				},
				stop: func() error {
					err := channel.Close()
					handling.Wait()
					return err
				},
			}, nil
		}}
}

func watermillBatch(events []event) []*message.Message {
	batch := make([]*message.Message, len(events))
	for i := range events {
		batch[i] = message.NewMessage(watermill.NewUUID(), events[i].data)
	}
	return batch
}

// watermillHandle handles messages until their channel is closed.
func watermillHandle(messages <-chan *message.Message, handle func([]byte)) {
	for m := range messages {
		handle(m.Payload)
		m.Ack()
	}
}

// startWatermill is watermill at work on a broker. It closes both.
func startWatermill(
	ctx context.Context, publisher message.Publisher, subscriber message.Subscriber, handle func([]byte),
) (*started, error) {
	messages, err := subscriber.Subscribe(ctx, "orders")
	if err != nil {
		return nil, errors.Join(err, publisher.Close(), subscriber.Close())
	}
	var handling sync.WaitGroup
	handling.Go(func() { watermillHandle(messages, handle) })
	return &started{
		publish: func(_ context.Context, events []event) error {
			return publisher.Publish("orders", watermillBatch(events)...)
		},
		stop: func() error {
			err := errors.Join(subscriber.Close(), publisher.Close())
			handling.Wait()
			return err
		},
	}, nil
}
