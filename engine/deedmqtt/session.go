package deedmqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/deedgo/deed/driver"
)

// SessionOptions say who a [Session] is for the broker. The zero value is a stranger, who
// is forgotten with the connection.
type SessionOptions struct {
	// ClientID names the session. Whoever connects under the same name takes it over, and
	// the one before gets [ErrTaken]. Without one the broker gives a name.
	ClientID string
	// Expiry is how long the broker keeps the session, with what is published meanwhile,
	// after the connection is lost. Zero is not at all.
	Expiry time.Duration
	// Hear is called with each message, one after the other, in the order they come. While
	// it runs nothing else is heard, acknowledgements neither.
	Hear func(Heard)
	// ByHand says that messages are acknowledged by [Heard.Ack]; else they are when Hear
	// returns. At most 1024 are on their way unacknowledged.
	ByHand bool
}

// Heard is a message from a broker.
type Heard struct {
	Topic    string // MQTT's, "sensors/hall"
	Retained bool   // the broker had kept it from before the subscription
	Message  driver.Message
	Damage   error // it claims to be a CloudEvent and cannot be read; the message is plain data

	client *paho.Client
	packet *paho.Publish
}

// Ack tells the broker that it may forget the message. A message without it comes again
// with the next connection of the session. Acknowledgements reach the broker in the order
// of the messages, so that one which is missing holds back those behind it.
func (h Heard) Ack() error { return h.client.Ack(h.packet) }

// ErrTaken means that another program has connected under the session's name.
var ErrTaken = errors.New("another program has connected under the same client id")

const (
	inFlight     = 1024
	ackInterval  = 2 * time.Millisecond
	replyTimeout = 10 * time.Second
)

// Session is one connection to a broker. It is over when the connection is lost. Its
// methods are safe for concurrent use.
type Session struct {
	client *paho.Client
	state  *state.State
	conn   *lockedConn
	limits limits
	byHand bool

	sending sync.Mutex
	over    chan struct{} // closed when the connection is lost
	end     sync.Once
	why     error // set before over is closed
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

// Dial connects to the broker that url names: mqtt://USER:PASSWORD@HOST:PORT, or mqtts://
// for TLS; see docs/guides/mqtt.md.
func Dial(ctx context.Context, url string, o SessionOptions) (*Session, error) {
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	session, err := dial(ctx, &s, o)
	if err != nil {
		return nil, fmt.Errorf("mqtt: connect to %s: %w", s.addr, err)
	}
	return session, nil
}

// CheckURL says what is wrong with a URL, without connecting. It never repeats it, for it
// may hold a password.
func CheckURL(url string) error {
	if _, err := parseURL(url); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	return nil
}

func dial(ctx context.Context, to *settings, o SessionOptions) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.addr)
	if err != nil {
		return nil, explain(err)
	}
	if to.tls != nil {
		c := tls.Client(conn, to.tls)
		if err := c.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, explain(err)
		}
		conn = c
	}
	s := &Session{
		state: state.NewInMemory(), conn: &lockedConn{Conn: conn}, byHand: o.ByHand, over: make(chan struct{}),
	}
	s.client = paho.NewClient(paho.ClientConfig{
		Conn: s.conn, Session: s.state, PacketTimeout: replyTimeout,
		EnableManualAcknowledgment: o.ByHand, SendAcksInterval: ackInterval,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			s.hear(p, o.Hear)
			return true, nil
		}},
		OnClientError:      func(err error) { s.lose(explain(err)) },
		OnServerDisconnect: func(d *paho.Disconnect) { s.lose(dismissed(d)) },
	})
	answer, err := s.client.Connect(ctx, to.connect(o))
	if answer != nil && answer.ReasonCode >= 0x80 {
		return nil, rejected(answer)
	}
	if err != nil {
		return nil, explain(err)
	}
	s.limits = readLimits(answer)
	return s, nil
}

// connect makes the packet that begins a session.
func (s *settings) connect(o SessionOptions) *paho.Connect {
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

func (s *Session) hear(p paho.PublishReceived, tell func(Heard)) {
	if tell == nil {
		return
	}
	h := Heard{Topic: p.Packet.Topic, Retained: p.Packet.Retain, client: p.Client, packet: p.Packet}
	h.Damage = readPacket(p.Packet, &h.Message)
	tell(h)
}

// Over is closed when the connection is lost; Err then says why.
func (s *Session) Over() <-chan struct{} { return s.over }

// Err returns why the connection is lost, or nil.
func (s *Session) Err() error {
	select {
	case <-s.over:
		return s.why
	default:
		return nil
	}
}

// lose notes that the connection is over.
func (s *Session) lose(why error) {
	s.end.Do(func() {
		s.why = why
		s.state.Close() //nolint:errcheck // it is in memory
		close(s.over)
	})
}

// Close ends the connection. The broker keeps the session for its expiry.
func (s *Session) Close() error {
	if s.byHand && s.Err() == nil {
		time.Sleep(5 * ackInterval) // acknowledgements leave every ackInterval
	}
	s.lose(fmt.Errorf("mqtt: %w", driver.ErrClosed))
	s.client.Disconnect(&paho.Disconnect{}) //nolint:errcheck // the connection may be gone
	return nil
}

// Subscription says what a session wants to hear.
type Subscription struct {
	Filter string // MQTT's, "sensors/#"
	// Share, if set, divides the messages among all sessions that use the same name.
	Share string
	// Retained asks for what the broker keeps, when the subscription is new to it.
	Retained bool
}

// Subscribe returns when the broker has confirmed that it passes on what is published.
func (s *Session) Subscribe(ctx context.Context, sub Subscription) error {
	if err := CheckFilter(sub.Filter); err != nil {
		return fmt.Errorf("mqtt: subscribe: %w: %w", err, driver.ErrRefused)
	}
	filter := sub.Filter
	if sub.Share != "" {
		if !s.limits.shared {
			return fmt.Errorf("mqtt: subscribe to %s: the broker has no shared subscriptions (drop Share): %w",
				sub.Filter, driver.ErrRefused)
		}
		filter = "$share/" + sub.Share + "/" + filter
	}
	o := paho.SubscribeOptions{Topic: filter, QoS: min(1, s.limits.qos), RetainHandling: 2, RetainAsPublished: true}
	if sub.Retained {
		o.RetainHandling = 1
	}
	answer, err := s.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}})
	if answer != nil && len(answer.Reasons) == 1 && answer.Reasons[0] >= 0x80 {
		text := ""
		if answer.Properties != nil {
			text = answer.Properties.ReasonString
		}
		err = reason(answer.Reasons[0], text)
	} else {
		err = explain(err)
	}
	if err != nil {
		return fmt.Errorf("mqtt: subscribe to %s: %w", filter, err)
	}
	return nil
}

// CheckFilter says what is wrong with a filter, for which brokers would end the connection.
func CheckFilter(filter string) error {
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "+", level == "#" && i == len(levels)-1:
		case strings.ContainsAny(level, "+#"):
			return fmt.Errorf("filter %q: + and # stand for whole levels, # for the last", filter)
		}
	}
	if filter == "" || len(filter) > math.MaxUint16 || !fit(filter) {
		return fmt.Errorf("filter %.100q: want 1 to 65535 bytes and no control characters", filter)
	}
	return nil
}
