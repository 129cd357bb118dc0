package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Windows that a NATS user would set for throughput.
const (
	natsPending = 4000 // published and not yet acknowledged
	natsPull    = 2000 // fetched ahead
	natsUnacked = 20000
)

// natsUsual is what a server keeps that nobody has set up.
const natsUsual = "process, synced each 2 min"

// natsSystem is a NATS server in this process, with streams in files.
type natsSystem struct {
	name, durability string
	always           bool // every message is synced
	tcp              bool // clients come by loopback, as deed's do, instead of a pipe
}

// raw is JetStream as its users would publish and consume for throughput.
func (n natsSystem) raw() system {
	return n.on(func(ctx context.Context, srv *server.Server, handle func([]byte)) (*started, error) {
		var way []nats.Option
		if !n.tcp {
			way = append(way, nats.InProcessServer(srv))
		}
		return startNATS(ctx, srv.ClientURL(), handle, way...)
	})
}

// publish is JetStream without anybody who reads: an event counts as handled when the
// server has answered.
func (n natsSystem) publish() system {
	return n.on(func(ctx context.Context, srv *server.Server, handle func([]byte)) (*started, error) {
		nc, js, err := natsStream(ctx, srv.ClientURL())
		if err != nil {
			return nil, err
		}
		return &started{
			publish: func(ctx context.Context, events []event) error {
				if err := publishNATS(ctx, js, events); err != nil {
					return err
				}
				for i := range events {
					handle(events[i].data)
				}
				return nil
			},
			stop: func() error {
				nc.Close()
				return nil
			},
		}, nil
	})
}

// deed is deed on the server.
func (n natsSystem) deed(v *deedVariant) system {
	return n.on(func(ctx context.Context, srv *server.Server, handle func([]byte)) (*started, error) {
		return openDeed(ctx, srv.ClientURL(), v, handle)
	})
}

// on makes a system of one that needs the server.
func (n natsSystem) on(
	start func(ctx context.Context, srv *server.Server, handle func([]byte)) (*started, error),
) system {
	return system{name: n.name, durability: n.durability,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			srv, err := n.server(dir)
			if err != nil {
				return nil, err
			}
			s, err := start(ctx, srv, handle)
			if err != nil {
				srv.Shutdown()
				return nil, err
			}
			stop := s.stop
			s.stop = func() error {
				err := stop()
				srv.Shutdown()
				srv.WaitForShutdown()
				return err
			}
			return s, nil
		}}
}

func (n natsSystem) server(dir string) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		DontListen: !n.tcp, Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		StoreDir: filepath.Join(dir, "nats"), SyncAlways: n.always, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the NATS server did not start within 10 s")
	}
	return srv, nil
}

// natsStream connects and makes the stream.
func natsStream(ctx context.Context, url string, way ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, way...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(natsPending))
	if err != nil {
		return nil, nil, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "orders", Subjects: []string{"orders"}, Storage: jetstream.FileStorage,
	})
	return nc, js, err
}

func startNATS(ctx context.Context, url string, handle func([]byte), way ...nats.Option) (*started, error) {
	pub, js, err := natsStream(ctx, url, way...)
	if err != nil {
		return nil, err
	}
	sub, err := nats.Connect(url, way...)
	if err != nil {
		return nil, err
	}
	subJS, err := jetstream.New(sub)
	if err != nil {
		return nil, err
	}
	consumer, err := subJS.CreateConsumer(ctx, "orders", jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: natsUnacked,
	})
	if err != nil {
		return nil, err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		handle(m.Data())
		m.Ack()
	}, jetstream.PullMaxMessages(natsPull))
	if err != nil {
		return nil, err
	}
	return &started{
		publish: func(ctx context.Context, events []event) error { return publishNATS(ctx, js, events) },
		stop: func() error {
			consuming.Stop()
			err := sub.Flush() // the acknowledgements
			pub.Close()
			sub.Close()
			return err
		},
	}, nil
}

// publishNATS sends a batch without waiting in between, as its users do.
func publishNATS(ctx context.Context, js jetstream.JetStream, events []event) error {
	if len(events) == 1 {
		_, err := js.Publish(ctx, "orders", events[0].data)
		return err
	}
	acks := make([]jetstream.PubAckFuture, len(events))
	for i := range events {
		var err error
		if acks[i], err = js.PublishAsync("orders", events[i].data); err != nil {
			return err
		}
	}
	for _, a := range acks {
		select {
		case <-a.Ok():
		case err := <-a.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
