package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed"
)

// Debian has no Kafka: all systems here are on kfake, in this process, with its data in
// files. What it takes is in the processor time of all alike.
const kafkaKeeps = "process"

const (
	kafkaPartitions = 16 // deed's default
	kafkaPoll       = 2000
	kafkaCommit     = 100 * time.Millisecond // as often as deed settles
)

// onKafka makes a system of one that needs a broker.
func onKafka(
	name string, start func(ctx context.Context, dir, addr string, handle func([]byte)) (*started, error),
) system {
	return system{name: name, durability: kafkaKeeps,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(dir, "kafka")))
			if err != nil {
				return nil, err
			}
			st, err := start(ctx, dir, broker.ListenAddrs()[0], handle)
			if err != nil {
				broker.Close()
				return nil, err
			}
			stop := st.stop
			st.stop = func() error {
				err := stop()
				broker.Close()
				return err
			}
			return st, nil
		}}
}

// kafkaSystems are all systems on Kafka.
func kafkaSystems() []system {
	deedKafka := func(publishOnly bool) func(context.Context, string, string, func([]byte)) (*started, error) {
		return func(ctx context.Context, dir, addr string, handle func([]byte)) (*started, error) {
			v := &deedVariant{state: "sqlite:" + filepath.Join(dir, "state.db"), publishOnly: publishOnly}
			return openDeed(ctx, "kafka://"+addr, v, handle)
		}
	}
	return []system{
		onKafka("raw/kafka", rawKafka),
		onKafka("raw/kafka/publish", rawKafkaPublish),
		onKafka("deed/kafka", deedKafka(false)),
		onKafka("deed/kafka/publish", deedKafka(true)),
		onKafka("watermill/kafka", watermillKafka),
	}
}

// rawProducer is franz-go as deed has it: idempotent, acknowledged by all replicas, without
// a linger.
func rawProducer(ctx context.Context, addr string) (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, kafkaPartitions, 1, nil, "orders"); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// rawKafkaBatch writes what deed writes.
func rawKafkaBatch(events []event) []*kgo.Record {
	now := []byte(time.Now().UTC().Format(time.RFC3339Nano))
	rs := make([]*kgo.Record, len(events))
	for i, e := range events {
		rs[i] = &kgo.Record{Topic: "orders", Key: []byte(e.key), Value: e.data, Headers: []kgo.RecordHeader{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(deed.NewID())},
			{Key: "ce_source", Value: []byte("/bench")}, {Key: "ce_type", Value: []byte("orders.created")},
			{Key: "ce_time", Value: now}, {Key: "content-type", Value: []byte("application/octet-stream")},
		}}
	}
	return rs
}

// rawKafkaPublish only writes: an event counts as handled when the broker has answered.
func rawKafkaPublish(ctx context.Context, _, addr string, handle func([]byte)) (*started, error) {
	client, err := rawProducer(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			if err := client.ProduceSync(ctx, rawKafkaBatch(events)...).FirstErr(); err != nil {
				return err
			}
			for i := range events {
				handle(events[i].data)
			}
			return nil
		},
		stop: func() error {
			client.Close()
			return nil
		},
	}, nil
}

// rawKafka is franz-go with a consumer group.
func rawKafka(ctx context.Context, _, addr string, handle func([]byte)) (*started, error) {
	producer, err := rawProducer(ctx, addr)
	if err != nil {
		return nil, err
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("bench"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(kafkaCommit))
	if err != nil {
		producer.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			consumer.PollRecords(ctx, kafkaPoll).EachRecord(func(r *kgo.Record) { handle(r.Value) })
		}
	})
	return &started{
		publish: func(ctx context.Context, events []event) error {
			return producer.ProduceSync(ctx, rawKafkaBatch(events)...).FirstErr()
		},
		stop: func() error {
			err := consumer.CommitUncommittedOffsets(context.WithoutCancel(ctx))
			cancel()
			reading.Wait()
			consumer.Close()
			producer.Close()
			return err
		},
	}, nil
}
