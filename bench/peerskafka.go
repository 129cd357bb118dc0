package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	wnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/nats-io/nats-server/v2/server"
)

// watermillKafka is watermill on Kafka, with the acknowledgements, idempotence and
// partitions of the others.
func watermillKafka(ctx context.Context, _, addr string, handle func([]byte)) (*started, error) {
	producing := wkafka.DefaultSaramaSyncPublisherConfig()
	producing.Producer.RequiredAcks, producing.Producer.Idempotent = sarama.WaitForAll, true
	producing.Net.MaxOpenRequests = 1 // which an idempotent producer of sarama's wants
	publisher, err := wkafka.NewPublisher(wkafka.PublisherConfig{
		Brokers: []string{addr}, Marshaler: wkafka.DefaultMarshaler{}, OverwriteSaramaConfig: producing,
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	consuming := wkafka.DefaultSaramaSubscriberConfig()
	consuming.Consumer.Offsets.Initial = sarama.OffsetOldest
	consuming.Consumer.Offsets.AutoCommit.Interval = kafkaCommit
	subscriber, err := wkafka.NewSubscriber(wkafka.SubscriberConfig{
		Brokers: []string{addr}, Unmarshaler: wkafka.DefaultMarshaler{}, ConsumerGroup: "bench",
		OverwriteSaramaConfig:  consuming,
		InitializeTopicDetails: &sarama.TopicDetail{NumPartitions: kafkaPartitions, ReplicationFactor: 1},
	}, watermill.NopLogger{})
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	if err := subscriber.SubscribeInitialize("orders"); err != nil {
		return nil, errors.Join(err, publisher.Close(), subscriber.Close())
	}
	return startWatermill(ctx, publisher, subscriber, handle)
}

// watermillNATS is watermill on JetStream, with as many subscribers as on Redis.
func watermillNATS(ctx context.Context, srv *server.Server, handle func([]byte)) (*started, error) {
	publisher, err := wnats.NewPublisher(wnats.PublisherConfig{
		URL: srv.ClientURL(), JetStream: wnats.JetStreamConfig{AutoProvision: true},
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	subscriber, err := wnats.NewSubscriber(wnats.SubscriberConfig{
		URL: srv.ClientURL(), QueueGroupPrefix: "bench", SubscribersCount: watermillSubscribers,
		CloseTimeout: time.Second, AckWaitTimeout: 30 * time.Second, SubscribeTimeout: 10 * time.Second,
		JetStream: wnats.JetStreamConfig{AutoProvision: true, DurablePrefix: "bench", AckAsync: true},
	}, watermill.NopLogger{})
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	return startWatermill(ctx, publisher, subscriber, handle)
}
