package main

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

const (
	// watermillSubscribers share a group, which was its fastest number.
	watermillSubscribers = 16
	// asynqConcurrency is how many handlers asynq runs.
	asynqConcurrency = 64
)

// watermillRedis is watermill on Redis Streams, with as many subscribers as serve it
// best.
func watermillRedis(ctx context.Context, s *redisServer, handle func([]byte)) (*started, error) {
	connect := func() *redis.Client { return redis.NewClient(&redis.Options{Addr: s.addr, PoolSize: 64}) }
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: connect()}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var subscribers []*redisstream.Subscriber
	var handling sync.WaitGroup
	for i := range watermillSubscribers {
		sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: connect(), ConsumerGroup: "bench", Consumer: strconv.Itoa(i), // which it closes
		}, watermill.NopLogger{})
		if err != nil {
			cancel()
			return nil, err
		}
		subscribers = append(subscribers, sub)
		messages, err := sub.Subscribe(ctx, "orders")
		if err != nil {
			cancel()
			return nil, err
		}
		handling.Go(func() { watermillHandle(messages, handle) })
	}
	return &started{
		publish: func(_ context.Context, events []event) error {
			return publisher.Publish("orders", watermillBatch(events)...)
		},
		stop: func() error {
			cancel()
			var errs []error
			for _, sub := range subscribers {
				errs = append(errs, sub.Close())
			}
			handling.Wait()
			return errors.Join(append(errs, publisher.Close())...)
		},
	}, nil
}

// asynqRedis is asynq, a task queue: each event is a task.
func asynqRedis(_ context.Context, s *redisServer, handle func([]byte)) (*started, error) {
	opt := asynq.RedisClientOpt{Addr: s.addr, PoolSize: 128}
	server := asynq.NewServer(opt, asynq.Config{Concurrency: asynqConcurrency, LogLevel: asynq.FatalLevel})
	mux := asynq.NewServeMux()
	mux.HandleFunc("order", func(_ context.Context, t *asynq.Task) error {
		handle(t.Payload())
		return nil
	})
	if err := server.Start(mux); err != nil {
		return nil, err
	}
	client := asynq.NewClient(opt)
	return &started{
		publish: func(ctx context.Context, events []event) error {
			for _, e := range events {
				if _, err := client.EnqueueContext(ctx, asynq.NewTask("order", e.data)); err != nil {
					return err
				}
			}
			return nil
		},
		stop: func() error {
			server.Shutdown()
			return client.Close()
		},
	}, nil
}
