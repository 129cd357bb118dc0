package deedmqtt

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/mqtttest"
)

// retain publishes what the broker keeps, and returns when it does.
func retain(t *testing.T, s *mqtttest.Server, topic, text string) {
	t.Helper()
	s.Publish(t, "-q", "1", "-r", "-t", topic, "-m", text)
}

// A session that the broker has kept does not hear again what is retained.
func TestRetainedOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, query string) {
		s := mqtttest.Start(t)
		retain(t, s, "a", "kept")
		texts := make(chan string, 10)
		o := SessionOptions{ClientID: "reader", Expiry: time.Hour, ByHand: true, Hear: func(h Heard) {
			if err := h.Ack(); err != nil {
				t.Errorf("acknowledge: %v", err)
			}
			texts <- string(h.Message.Data)
		}}
		connect := func(retained bool) *Session {
			t.Helper()
			c, err := Dial(t.Context(), s.URL()+query, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if err := c.Subscribe(t.Context(), Subscription{Filter: "#", Retained: retained}); err != nil {
				t.Fatal(err)
			}
			return c
		}
		hear := func() string {
			t.Helper()
			select {
			case text := <-texts:
				return text
			case <-time.After(time.Minute):
				t.Fatal("nothing is heard")
				return ""
			}
		}
		c := connect(true)
		if text := hear(); text != "kept" {
			t.Errorf("heard %q", text)
		}
		c.Close()
		s.Publish(t, "-q", "1", "-t", "b", "-m", "meanwhile")
		c = connect(true)
		if text := hear(); text != "meanwhile" {
			t.Errorf("heard %q where what came meanwhile is next", text)
		}
		c.Close()
		o.ClientID = "another"
		connect(false)
		s.Publish(t, "-q", "1", "-r", "-t", "c", "-m", "live") // retained, but new
		if text := hear(); text != "live" {
			t.Errorf("heard %q, which was there before", text)
		}
	})
}

// What is not acknowledged comes again with the next connection.
func TestUnacknowledgedComesAgain(t *testing.T) {
	eachVersion(t, func(t *testing.T, query string) {
		s := mqtttest.Start(t)
		heard := make(chan Heard, 100)
		o := SessionOptions{ClientID: "reader", Expiry: time.Hour, ByHand: true, Hear: func(h Heard) { heard <- h }}
		listen := func() *Session {
			t.Helper()
			c, err := Dial(t.Context(), s.URL()+query, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if err := c.Subscribe(t.Context(), Subscription{Filter: "#"}); err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := listen()
		for _, text := range []string{"1", "2", "3"} {
			s.Publish(t, "-q", "1", "-t", "a", "-m", text)
		}
		var texts []string
		take := func(n int, ack int) {
			t.Helper()
			texts = nil
			for i := range n {
				select {
				case h := <-heard:
					texts = append(texts, string(h.Message.Data))
					if i < ack && h.Ack() != nil {
						t.Error("an acknowledgement fails")
					}
				case <-time.After(time.Minute):
					t.Fatalf("heard only %v", texts)
				}
			}
		}
		take(3, 1)
		c.Close()
		listen()
		take(2, 2)
		if !slices.Equal(texts, []string{"2", "3"}) {
			t.Errorf("after the first was acknowledged %v come again", texts)
		}
	})
}

// A broker of MQTT 3.1.1 that says no to a subscription. Mosquitto says yes, and passes
// nothing on.
func TestForbiddenSubscription(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var broker sync.WaitGroup
	defer broker.Wait()
	broker.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			p, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.ConnectPacket:
				packets.NewControlPacket(packets.Connack).Write(conn) //nolint:errcheck // the test fails without
			case *packets.SubscribePacket:
				no := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
				no.MessageID, no.ReturnCodes = p.MessageID, []byte{0x80}
				no.Write(conn) //nolint:errcheck // the test fails without
			}
		}
	})
	c, err := Dial(t.Context(), "mqtt://"+l.Addr().String()+"?version=3.1.1", SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Subscribe(t.Context(), Subscription{Filter: "secret/#"})
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "secret/#") {
		t.Errorf("a forbidden subscription: %v", err)
	}
}
