package deedmqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	mqtt3 "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// wire3 is a connection by MQTT 3.1.1. Its messages have no properties, so that an event is
// one JSON document with all its attributes, and its acknowledgements no reasons.
type wire3 struct {
	session *Session
	client  mqtt3.Client
	known   bool // the broker had kept the session
	acks    acks

	retained atomic.Bool // what the broker keeps is wanted
}

func connect3(ctx context.Context, c *conn, s *Session, to *settings, o SessionOptions) (wire, error) {
	w := &wire3{session: s}
	options := mqtt3.NewClientOptions().AddBroker("tcp://" + to.addr).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt3.ClientOptions) (net.Conn, error) { return c, nil }).
		SetProtocolVersion(4). // which is 3.1.1
		SetClientID(o.ClientID).SetCleanSession(o.Expiry == 0).
		SetUsername(to.user).SetPassword(to.password).
		SetKeepAlive(to.keepAlive).SetPingTimeout(to.keepAlive / 2).
		SetConnectTimeout(replyTimeout).
		SetAutoReconnect(false).SetConnectRetry(false).
		SetAutoAckDisabled(o.ByHand).SetOrderMatters(true).
		SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) { w.hear(m, o) }).
		SetConnectionLostHandler(func(_ mqtt3.Client, err error) { s.lose(explain(err)) })
	w.client = mqtt3.NewClient(options)
	token := w.client.Connect().(*mqtt3.ConnectToken)
	select {
	case <-token.Done():
	case <-ctx.Done():
		c.Close()
		<-token.Done()
	}
	if err := token.Error(); err != nil {
		return nil, rejected3(err)
	}
	w.known = token.SessionPresent()
	return w, nil
}

// hear tells of a message. A subscription by MQTT 3.1.1 brings what the broker keeps every
// time, whether it is new or not.
func (w *wire3) hear(m mqtt3.Message, o SessionOptions) {
	if o.Hear == nil {
		return
	}
	h := Heard{Topic: m.Topic(), Retained: m.Retained()}
	if o.ByHand {
		h.ack = w.acks.add(func() error {
			m.Ack()
			return w.session.Err()
		})
	}
	if h.Retained && !w.retained.Load() {
		h.Ack() //nolint:errcheck // nobody waits for it
		return
	}
	h.Damage = driverkit.ReadDocument(string(m.Payload()), &h.Message)
	o.Hear(h)
}

// send is a structured CloudEvent: there are no properties for a binary one.
func (w *wire3) send(_ context.Context, topic string, m *driver.Message) (func(context.Context) error, error) {
	if err := w.session.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	}
	token := w.client.Publish(topic, 1, false, driverkit.AppendDocument(nil, m))
	return func(ctx context.Context) error { return w.await(ctx, token) }, nil
}

// await waits for the broker's answer.
func (w *wire3) await(ctx context.Context, token mqtt3.Token) error {
	select {
	case <-token.Done():
	case <-w.session.over:
		select {
		case <-token.Done(): // it came before
		default:
			return w.session.unknown()
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if token.Error() == nil {
		return nil
	}
	w.session.lose(explain(token.Error())) // the library's answers are of the connection only
	return w.session.unknown()
}

func (w *wire3) subscribe(ctx context.Context, filter string, retained bool) error {
	w.retained.Store(retained && !w.known)
	token := w.client.Subscribe(filter, 1, nil).(*mqtt3.SubscribeToken)
	if err := w.await(ctx, token); err != nil {
		return err
	}
	for _, granted := range token.Result() {
		if granted >= 0x80 {
			return fmt.Errorf("%w: the broker says no, and by MQTT 3.1.1 not why", driver.ErrRefused)
		}
	}
	return nil
}

// close ends the connection, behind what is acknowledged until then.
func (w *wire3) close() { w.client.Disconnect(uint(lastWords / time.Millisecond)) }

// rejected3 makes an error of the broker's no to a connection.
func rejected3(err error) error {
	for no, code := range map[error]byte{
		packets.ErrorRefusedBadProtocolVersion:    0x84,
		packets.ErrorRefusedIDRejected:            0x85,
		packets.ErrorRefusedServerUnavailable:     0x88,
		packets.ErrorRefusedBadUsernameOrPassword: 0x86,
		packets.ErrorRefusedNotAuthorised:         0x87,
	} {
		if errors.Is(err, no) {
			return reason(code, "")
		}
	}
	return explain(err)
}
