package main

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/rabbittest"
)

// rabbitKind is what partitions are on a server. A quorum queue confirms what is on its one
// node's disk, a stream what the node's system has.
type rabbitKind struct{ name, keeps, query string }

var (
	inQueues  = rabbitKind{"rabbitmq", "power", ""}
	inStreams = rabbitKind{"rabbitmq-streams", "process", "?queues=stream"}
)

const (
	rabbitPartitions = 16 // deed's default
	rabbitPrefetch   = 256
	rabbitChannels   = 4   // that publish at once, as deed's do
	rabbitAck        = 128 // at once
)

// on makes a system of one that needs a server, which ends with the sample.
func (k rabbitKind) on(
	before, after string, start func(ctx context.Context, dir, url string, handle func([]byte)) (*started, error),
) system {
	return system{name: before + k.name + after, durability: k.keeps,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			url, end, err := serve(ctx, func(t testing.TB) string { return rabbittest.Start(t).URL() })
			if err != nil {
				return nil, err
			}
			st, err := start(ctx, dir, url, handle)
			if err != nil {
				return nil, errors.Join(err, end())
			}
			stop := st.stop
			st.stop = func() error { return errors.Join(stop(), end()) }
			return st, nil
		}}
}

// rabbitSystems are all systems on RabbitMQ.
func rabbitSystems() []system {
	all := []system{inQueues.on("watermill/", "", watermillRabbit)}
	for _, k := range []rabbitKind{inQueues, inStreams} {
		all = append(all, k.on("raw/", "", k.raw), k.on("raw/", "/publish", k.rawPublish),
			k.on("deed/", "", func(ctx context.Context, dir, url string, handle func([]byte)) (*started, error) {
				return openDeed(ctx, url+k.query, &deedVariant{state: "sqlite:" + filepath.Join(dir, "state.db")}, handle)
			}),
			k.on("deed/", "/publish", k.deedPublish))
	}
	return all
}

// deedPublish publishes for a group that is away: without one nothing is stored in queues.
func (k rabbitKind) deedPublish(ctx context.Context, dir, url string, handle func([]byte)) (*started, error) {
	v := &deedVariant{state: "sqlite:" + filepath.Join(dir, "state.db"), publishOnly: true}
	bus, err := openBus(ctx, url+k.query, v.state)
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	topics, _ := driver.As[driver.Topics](bus.Conn())
	if _, err := topics.CreateTopic(ctx, "orders", driver.TopicSettings{}); err != nil {
		return nil, err
	}
	spec := driver.SubscribeSpec{Topic: "orders", Group: "bench", Lease: 10 * time.Second}
	sub, err := bus.Conn().Subscribe(ctx, spec)
	if err == nil {
		err = sub.Close()
	}
	if err != nil {
		return nil, err
	}
	return openDeed(ctx, url+k.query, v, handle)
}

// rawPublisher is amqp091 as deed has it: channels with confirms.
type rawPublisher struct {
	conn     *amqp.Connection
	channels chan *amqp.Channel
}

func (k rabbitKind) publisher(url string) (*rawPublisher, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	p := &rawPublisher{conn: conn, channels: make(chan *amqp.Channel, rabbitChannels)}
	for range rabbitChannels {
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		p.channels <- ch
	}
	ch := <-p.channels
	defer func() { p.channels <- ch }()
	if err := ch.ExchangeDeclare("orders", amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return nil, err
	}
	args := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, amqp.SingleActiveConsumerArg: true}
	if k == inStreams {
		args = amqp.Table{amqp.QueueTypeArg: "stream"}
	}
	for i := range rabbitPartitions {
		name := rabbitQueue(i)
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return nil, err
		}
		if err := ch.QueueBind(name, strconv.Itoa(i), "orders", false, nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func rabbitQueue(partition int) string { return "orders/bench/" + strconv.Itoa(partition) }

// publish writes what deed writes.
func (p *rawPublisher) publish(ctx context.Context, events []event) error {
	ch := <-p.channels
	defer func() { p.channels <- ch }()
	now := time.Now()
	text := now.UTC().Format(time.RFC3339Nano)
	confirms := make([]*amqp.DeferredConfirmation, len(events))
	for i, e := range events {
		key := strconv.Itoa(driver.PartitionOf(e.key, rabbitPartitions))
		c, err := ch.PublishWithDeferredConfirm("orders", key, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Timestamp: now, Body: e.data, ContentType: "application/octet-stream",
			Headers: amqp.Table{
				"cloudEvents_specversion": "1.0", "cloudEvents_id": deed.NewID(), "cloudEvents_source": "/bench",
				"cloudEvents_type": "orders.created", "cloudEvents_partitionkey": e.key, "cloudEvents_time": text,
			},
		})
		if err != nil {
			return err
		}
		confirms[i] = c
	}
	for _, c := range confirms {
		if ok, err := c.WaitContext(ctx); err != nil || !ok {
			return errors.Join(err, errors.New("not confirmed"))
		}
	}
	return nil
}

// rawPublish only writes: an event counts as handled when it is confirmed.
func (k rabbitKind) rawPublish(_ context.Context, _, url string, handle func([]byte)) (*started, error) {
	p, err := k.publisher(url)
	if err != nil {
		return nil, err
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			if err := p.publish(ctx, events); err != nil {
				return err
			}
			for i := range events {
				handle(events[i].data)
			}
			return nil
		},
		stop: p.conn.Close,
	}, nil
}

// raw is amqp091 with a consumer for each queue, or stream.
func (k rabbitKind) raw(_ context.Context, _, url string, handle func([]byte)) (*started, error) {
	p, err := k.publisher(url)
	if err != nil {
		return nil, err
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	var reading sync.WaitGroup
	var args amqp.Table
	if k == inStreams {
		args = amqp.Table{"x-stream-offset": "first"}
	}
	for i := range rabbitPartitions {
		ch, err := conn.Channel()
		if err != nil {
			return nil, err
		}
		if err := ch.Qos(rabbitPrefetch, 0, false); err != nil {
			return nil, err
		}
		came, err := ch.Consume(rabbitQueue(i), "", false, false, false, false, args)
		if err != nil {
			return nil, err
		}
		reading.Go(func() { rawRabbitRead(ch, came, handle) })
	}
	return &started{
		publish: p.publish,
		stop: func() error {
			err := errors.Join(conn.Close(), p.conn.Close())
			reading.Wait()
			return err
		},
	}, nil
}

// rawRabbitRead acknowledges many at once, and ten times a second.
func rawRabbitRead(ch *amqp.Channel, came <-chan amqp.Delivery, handle func([]byte)) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, open := uint64(0), 0
	for {
		select {
		case d, ok := <-came:
			if !ok {
				return
			}
			handle(d.Body)
			last = d.DeliveryTag
			if open++; open < rabbitAck {
				continue
			}
		case <-tick.C:
		}
		if open > 0 {
			_ = ch.Ack(last, true)
			open = 0
		}
	}
}
