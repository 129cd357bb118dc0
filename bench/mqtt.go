package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/internal/mqtttest"
)

// What a broker keeps: it passes on, at QoS 1.
const mqttKeeps = "memory"

const (
	mqttWindow = 1000 // messages on their way to the broker or from it, unacknowledged
	mqttProbe  = 10 * time.Millisecond
)

// onMQTT makes a system of one that needs mosquitto, with queues without a bound: what it
// dropped would never be handled.
func onMQTT(name string, start func(ctx context.Context, url string, handle func([]byte)) (*started, error)) system {
	return system{name: name, durability: mqttKeeps,
		start: func(ctx context.Context, _ string, handle func([]byte)) (*started, error) {
			var server *mqtttest.Server
			url, end, err := serve(ctx, func(t testing.TB) string {
				server = mqtttest.Start(t, "max_queued_messages 0", "set_tcp_nodelay true",
					fmt.Sprint("max_inflight_messages ", mqttWindow))
				return server.URL()
			})
			if err != nil {
				return nil, err
			}
			pid := server.PID()
			st, err := start(ctx, url, handle)
			if err != nil {
				return nil, errors.Join(err, end())
			}
			stop := st.stop
			st.stop = func() error { return errors.Join(stop(), end()) }
			st.serverCPU = func() time.Duration { return cpuOf(pid) }
			return st, nil
		}}
}

// mqttSystems are all systems on MQTT, by version 5 and by 3.1.1.
func mqttSystems() []system {
	publish := func(version string) func(context.Context, string, func([]byte)) (*started, error) {
		return func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return openDeed(ctx, url+"?version="+version, &deedVariant{publishOnly: true}, handle)
		}
	}
	return []system{
		onMQTT("raw/mqtt", func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return rawMQTT(ctx, url, handle, false)
		}),
		onMQTT("raw/mqtt/publish", func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return rawMQTT(ctx, url, handle, true)
		}),
		onMQTT("raw/mqtt3", func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return rawMQTT3(ctx, url, handle, false)
		}),
		onMQTT("raw/mqtt3/publish", func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
			return rawMQTT3(ctx, url, handle, true)
		}),
		onMQTT("deed/mqtt", deedMQTT("5")),
		onMQTT("deed/mqtt/publish", publish("5")),
		onMQTT("deed/mqtt3", deedMQTT("3.1.1")),
		onMQTT("deed/mqtt3/publish", publish("3.1.1")),
	}
}

// deedMQTT is a listener, which has room for whatever is not handled yet.
func deedMQTT(version string) func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
	return func(ctx context.Context, url string, handle func([]byte)) (*started, error) {
		return listenMQTT(ctx, url+"?buffer_events=10000000&buffer_bytes=4000000000&version="+version, handle)
	}
}

func listenMQTT(ctx context.Context, url string, handle func([]byte)) (*started, error) {
	bus, err := openBus(ctx, url, "")
	if err != nil {
		return nil, err
	}
	heard := make(chan struct{})
	hear := sync.OnceFunc(func() { close(heard) })
	draft, on := codecNone.ends(deed.NewTopic("orders", nil), func(data []byte) {
		if len(data) == 0 {
			hear()
			return
		}
		handle(data)
	})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		defer cancel()
		runErr = bus.Run(ctx, deed.Listen("bench", nil, on))
	})
	st := publishDeed(bus, draft, func([]byte) {})
	st.stop = func() error {
		cancel()
		running.Wait()
		return errors.Join(runErr, bus.Close())
	}
	tick := time.NewTicker(mqttProbe) // until it listens
	defer tick.Stop()
	for {
		if err := st.publish(ctx, []event{{key: "probe"}}); err != nil {
			return nil, errors.Join(err, st.stop())
		}
		select {
		case <-heard:
			return st, nil
		case <-tick.C:
		}
	}
}

// dialMQTT is a connection of the raw client, which allows as many messages on their way as
// deed does.
func dialMQTT(ctx context.Context, url string, hear func(*paho.Publish)) (*paho.Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(url, "mqtt://"))
	if err != nil {
		return nil, err
	}
	client := paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: time.Minute,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			hear(p.Packet)
			return true, nil
		}},
	})
	receive := uint16(1024)
	_, err = client.Connect(ctx, &paho.Connect{
		CleanStart: true, KeepAlive: 30, Properties: &paho.ConnectProperties{ReceiveMaximum: &receive},
	})
	return client, err
}

// rawMQTT is the client library as it is: a Publish returns when the broker has answered, so
// that as many run at once as the broker allows, and there is no order. Fewer were slower.
func rawMQTT(ctx context.Context, url string, handle func([]byte), publishOnly bool) (*started, error) {
	writer, err := dialMQTT(ctx, url, func(*paho.Publish) {})
	if err != nil {
		return nil, err
	}
	clients := []*paho.Client{writer}
	if !publishOnly {
		reader, err := dialMQTT(ctx, url, func(p *paho.Publish) { handle(p.Payload) })
		if err == nil {
			_, err = reader.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "orders", QoS: 1}}})
		}
		if err != nil {
			return nil, err
		}
		clients = append(clients, reader)
	}
	slots := make(chan struct{}, mqttWindow)
	return &started{
		publish: func(ctx context.Context, events []event) error {
			errs := make([]error, len(events))
			var sending sync.WaitGroup
			for i, e := range events {
				slots <- struct{}{}
				sending.Go(func() {
					_, errs[i] = writer.Publish(ctx, rawMessage(e))
					<-slots
				})
			}
			sending.Wait()
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if publishOnly {
				for i := range events {
					handle(events[i].data)
				}
			}
			return nil
		},
		stop: func() error {
			var errs []error
			for _, c := range clients {
				errs = append(errs, c.Disconnect(&paho.Disconnect{}))
			}
			return errors.Join(errs...)
		},
	}, nil
}

// rawMessage is what deed sends for an event.
func rawMessage(e event) *paho.Publish {
	p := &paho.PublishProperties{ContentType: "application/octet-stream"}
	for _, x := range [][2]string{
		{"specversion", "1.0"}, {"id", deed.NewID()}, {"source", "/bench"}, {"type", "orders.created"},
		{"partitionkey", e.key}, {"time", time.Now().UTC().Format(time.RFC3339Nano)},
	} {
		p.User.Add(x[0], x[1])
	}
	return &paho.Publish{QoS: 1, Topic: "orders", Payload: e.data, Properties: p}
}
