package deedmqtt

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/deedgo/deed/driver"
)

// wire5 is a connection by MQTT 5.
type wire5 struct {
	session *Session
	client  *paho.Client
	state   *state.State
	conn    *lockedConn
	limits  limits
}

// lockedConn is locked by whoever writes a packet, the library included.
type lockedConn struct {
	net.Conn
	sync.Mutex
}

// limits are what the broker takes.
type limits struct {
	packet int // bytes, 0 when it does not say
	qos    byte
	shared bool
}

func connect5(ctx context.Context, conn net.Conn, s *Session, to *settings, o SessionOptions) (wire, error) {
	w := &wire5{session: s, state: state.NewInMemory(), conn: &lockedConn{Conn: conn}}
	w.client = paho.NewClient(paho.ClientConfig{
		Conn: w.conn, Session: w.state, PacketTimeout: replyTimeout,
		EnableManualAcknowledgment: o.ByHand, SendAcksInterval: ackInterval,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			w.hear(p, o.Hear)
			return true, nil
		}},
		OnClientError:      func(err error) { w.lose(explain(err)) },
		OnServerDisconnect: func(d *paho.Disconnect) { w.lose(dismissed(d)) },
	})
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

func (w *wire5) hear(p paho.PublishReceived, tell func(Heard)) {
	if tell == nil {
		return
	}
	h := Heard{Topic: p.Packet.Topic, Retained: p.Packet.Retain}
	h.ack = func() error { return p.Client.Ack(p.Packet) }
	h.Damage = readPacket(p.Packet, &h.Message)
	tell(h)
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
	var b bytes.Buffer
	raw.WriteTo(&b) //nolint:errcheck // a buffer takes everything
	if err := w.write(b.Bytes()); err != nil {
		w.lose(explain(err)) // what the broker has of it nobody knows
	}
	return func(ctx context.Context) error { return w.await(ctx, reply) }, nil
}

// write sends a packet in one piece, as the library would not.
func (w *wire5) write(packet []byte) error {
	w.conn.Lock()
	defer w.conn.Unlock()
	_, err := w.conn.Write(packet)
	return err
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
