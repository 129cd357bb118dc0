package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// dialMQTT3 is a connection of the client library for MQTT 3.1.1.
func dialMQTT3(url string) (mqtt3.Client, error) {
	o := mqtt3.NewClientOptions().AddBroker("tcp://" + strings.TrimPrefix(url, "mqtt://")).
		SetProtocolVersion(4). // which is 3.1.1
		SetCleanSession(true).SetAutoReconnect(false)
	c := mqtt3.NewClient(o)
	return c, settled(c.Connect())
}

// settled waits for a library's answer.
func settled(t mqtt3.Token) error {
	t.Wait()
	return t.Error()
}

// rawMQTT3 is the client library as it is: Publish returns at once, with what to wait on.
func rawMQTT3(ctx context.Context, url string, handle func([]byte), publishOnly bool) (*started, error) {
	writer, err := dialMQTT3(url)
	if err != nil {
		return nil, err
	}
	clients := []mqtt3.Client{writer}
	if !publishOnly {
		reader, err := dialMQTT3(url)
		if err == nil {
			err = settled(reader.Subscribe("orders", 1, func(_ mqtt3.Client, m mqtt3.Message) { handle(m.Payload()) }))
		}
		if err != nil {
			return nil, err
		}
		clients = append(clients, reader)
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			tokens := make([]mqtt3.Token, len(events))
			for i, e := range events {
				tokens[i] = writer.Publish("orders", 1, false, rawDocument(e))
			}
			for _, t := range tokens {
				select {
				case <-t.Done():
				case <-ctx.Done():
					return ctx.Err()
				}
				if t.Error() != nil {
					return fmt.Errorf("publish: %w", t.Error())
				}
			}
			if publishOnly {
				for i := range events {
					handle(events[i].data)
				}
			}
			return nil
		},
		stop: func() error {
			for _, c := range clients {
				c.Disconnect(uint(time.Second / time.Millisecond))
			}
			return nil
		},
	}, nil
}

// rawDocument is what deed sends for an event: there are no properties for its attributes.
func rawDocument(e event) []byte {
	return driverkit.AppendDocument(nil, &driver.Message{
		ID: deed.NewID(), Source: "/bench", Type: "orders.created", Version: 1, Key: e.key, Time: time.Now(),
		ContentType: "application/octet-stream", Data: e.data,
	})
}
