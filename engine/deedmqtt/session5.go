package deedmqtt

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
	"github.com/eclipse/paho.golang/paho/store/memory"

	"github.com/deedgo/deed/driver"
)

// wire5 is a connection by MQTT 5.
type wire5 struct {
	session *Session
	client  *paho.Client
	state   *state.State
	conn    *conn
	limits  limits
	acks    acks
}

// forgetful is the library's store of packets that a later connection would send again: a
// session is one connection, and the publisher above hears what became of its events.
type forgetful struct{ *memory.Store }

// Put keeps nothing.
func (forgetful) Put(uint16, byte, io.WriterTo) error { return nil }

// Delete finds nothing.
func (forgetful) Delete(uint16) error { return nil }

// byHand is a state of a client that leaves it to us when a message is acknowledged. The
// library's own way is to do it now and then.
type byHand struct{ *state.State }

// Ack is called by the library when a message was heard.
func (byHand) Ack(*packets.Publish) error { return nil }

// limits are what the broker takes.
type limits struct {
	packet int // bytes, 0 when it does not say
	qos    byte
	shared bool
}

func connect5(ctx context.Context, c *conn, s *Session, to *settings, o SessionOptions) (wire, error) {
	nothing := forgetful{memory.New()}
	w := &wire5{session: s, state: state.New(nothing, nothing), conn: c}
	config := paho.ClientConfig{
		Conn: w.conn, Session: w.state, PacketTimeout: replyTimeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			w.hear(p.Packet, o)
			return true, nil
		}},
		OnClientError:      func(err error) { w.lose(explain(err)) },
		OnServerDisconnect: func(d *paho.Disconnect) { w.lose(dismissed(d)) },
	}
	if o.ByHand {
		config.Session = byHand{w.state}
	}
	w.client = paho.NewClient(config)
	answer, err := w.client.Connect(ctx, to.connect5(o))
	if answer != nil && answer.ReasonCode >= 0x80 {
		return nil, rejected(answer)
	}
	if err != nil {
		return nil, explain(err)
	}
	w.limits = readLimits(answer)
	return w, nil
}

// connect5 makes the packet that begins a session.
func (s *settings) connect5(o SessionOptions) *paho.Connect {
	expiry, receive := uint32(o.Expiry/time.Second), uint16(inFlight)
	return &paho.Connect{
		ClientID: o.ClientID, CleanStart: o.Expiry == 0, KeepAlive: uint16(s.keepAlive / time.Second),
		Username: s.user, UsernameFlag: s.user != "",
		Password: []byte(s.password), PasswordFlag: s.password != "",
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry, ReceiveMaximum: &receive, RequestProblemInfo: true,
		},
	}
}

func readLimits(answer *paho.Connack) limits {
	l := limits{qos: 2, shared: true}
	p := answer.Properties
	if p == nil {
		return l
	}
	if p.MaximumPacketSize != nil {
		l.packet = int(*p.MaximumPacketSize)
	}
	if p.MaximumQoS != nil {
		l.qos = *p.MaximumQoS
	}
	l.shared = p.SharedSubAvailable
	return l
}

func (w *wire5) hear(p *paho.Publish, o SessionOptions) {
	if o.Hear == nil {
		return
	}
	h := Heard{Topic: p.Topic, Retained: p.Retain}
	if o.ByHand && p.QoS > 0 {
		h.ack = w.acks.add(func() error {
			if err := w.session.Err(); err != nil {
				return err
			}
			return w.state.Ack(p.Packet())
		})
	}
	h.Damage = readPacket(p, &h.Message)
	o.Hear(h)
}

func (w *wire5) lose(why error) {
	w.session.lose(why)
	w.state.Close() //nolint:errcheck // it is in memory
}

func (w *wire5) close() {
	w.state.Close()                         //nolint:errcheck // it is in memory
	w.client.Disconnect(&paho.Disconnect{}) //nolint:errcheck // the connection may be gone
}

// send is the library's Publish without the waiting, so that events are on their way
// together and in order.
func (w *wire5) send(ctx context.Context, topic string, m *driver.Message) (func(context.Context) error, error) {
	p := packet(topic, m)
	if w.limits.qos == 0 {
		return nil, fmt.Errorf("the broker acknowledges nothing, it takes QoS 0 only: %w", driver.ErrRefused)
	}
	raw := p.Packet()
	if size := len(p.Payload) + overhead(p); w.limits.packet > 0 && size > w.limits.packet {
		return nil, fmt.Errorf("it takes %d bytes, the broker accepts %d: %w", size, w.limits.packet, driver.ErrRefused)
	}
	reply := make(chan packets.ControlPacket, 1)
	if err := w.state.AddToSession(ctx, raw, reply); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", driver.ErrNotStored, driver.ErrAway, err)
	}
	if _, err := raw.WriteTo(w.conn); err != nil {
		w.lose(explain(err)) // what the broker has of it nobody knows
	}
	return func(ctx context.Context) error { return w.await(ctx, reply) }, nil
}

// overhead bounds the bytes of a packet beside its payload.
func overhead(p *paho.Publish) int {
	n := 32 + len(p.Topic) + len(p.Properties.ContentType)
	for _, u := range p.Properties.User {
		n += 5 + len(u.Key) + len(u.Value)
	}
	return n
}

func (w *wire5) await(ctx context.Context, reply chan packets.ControlPacket) error {
	var r packets.ControlPacket
	select {
	case r = <-reply:
	case <-w.session.over:
		select {
		case r = <-reply: // it came before
		default:
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	ack, ok := r.Content.(*packets.Puback)
	switch {
	case !ok:
		return w.session.unknown()
	case ack.ReasonCode < 0x80:
		return nil
	}
	text := ""
	if ack.Properties != nil {
		text = ack.Properties.ReasonString
	}
	return reason(ack.ReasonCode, text)
}

func (w *wire5) subscribe(ctx context.Context, filter string, retained bool) error {
	if strings.HasPrefix(filter, "$share/") && !w.limits.shared {
		return fmt.Errorf("the broker has no shared subscriptions (drop Share): %w", driver.ErrRefused)
	}
	o := paho.SubscribeOptions{Topic: filter, QoS: min(1, w.limits.qos), RetainHandling: 2, RetainAsPublished: true}
	if retained {
		o.RetainHandling = 1
	}
	answer, err := w.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}})
	if answer != nil && len(answer.Reasons) == 1 && answer.Reasons[0] >= 0x80 {
		text := ""
		if answer.Properties != nil {
			text = answer.Properties.ReasonString
		}
		return reason(answer.Reasons[0], text)
	}
	return explain(err)
}
