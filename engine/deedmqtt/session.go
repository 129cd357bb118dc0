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

	"github.com/deedgo/deed/driver"
)

// SessionOptions say who a [Session] is for the broker. The zero value is a stranger, who
// is forgotten with the connection.
type SessionOptions struct {
	// ClientID names the session. Whoever connects under the same name takes it over, and
	// the one before gets [ErrTaken]. Without one the broker gives a name.
	ClientID string
	// Expiry is how long the broker keeps the session, with what is published meanwhile,
	// after the connection is lost. Zero is not at all. By MQTT 3.1.1 the broker alone
	// decides how long.
	Expiry time.Duration
	// Hear is called with each message, one after the other, in the order they come. While
	// it runs nothing else is heard, acknowledgements neither.
	Hear func(Heard)
	// ByHand says that messages are acknowledged by [Heard.Ack]; else they are when Hear
	// returns. At most 1024 are on their way unacknowledged, or as many as a broker of MQTT
	// 3.1.1 likes.
	ByHand bool
}

// Heard is a message from a broker.
type Heard struct {
	Topic    string // MQTT's, "sensors/hall"
	Retained bool   // the broker had kept it from before the subscription
	Message  driver.Message
	Damage   error // it claims to be a CloudEvent and cannot be read; the message is plain data

	ack func() error
}

// Ack tells the broker that it may forget the message. A message without it comes again
// with the next connection of the session. Acknowledgements reach the broker in the order
// of the messages, so that one which is missing holds back those behind it.
func (h Heard) Ack() error {
	if h.ack == nil { // there is nothing to do, or somebody does it
		return nil
	}
	return h.ack()
}

// ErrTaken means that another program has connected under the session's name.
var ErrTaken = errors.New("another program has connected under the same client id")

const (
	inFlight     = 1024
	replyTimeout = 10 * time.Second
)

// Session is one connection to a broker. It is over when the connection is lost. Its
// methods are safe for concurrent use.
type Session struct {
	wire wire

	sending sync.Mutex
	over    chan struct{} // closed when the connection is lost
	end     sync.Once
	why     error // set before over is closed
}

// wire is a connection in one version of the protocol. It calls [Session.lose] when it is
// lost.
type wire interface {
	// send puts an event on its way; what it returns waits for the broker's answer. It is
	// called by one goroutine at a time.
	send(ctx context.Context, topic string, m *driver.Message) (answer func(context.Context) error, err error)
	// subscribe returns when the broker has said yes.
	subscribe(ctx context.Context, filter string, retained bool) error
	// close ends the connection, which may be gone already.
	close()
}

// Dial connects to the broker that url names: mqtt://USER:PASSWORD@HOST:PORT, or mqtts://
// for TLS; see docs/guides/mqtt.md. A session names MQTT's topics as they are, so the URL
// has no prefix.
func Dial(ctx context.Context, url string, o SessionOptions) (*Session, error) {
	s, err := parseSessionURL(url)
	if err != nil {
		return nil, err
	}
	session, err := dial(ctx, &s, o)
	if err != nil {
		return nil, fmt.Errorf("mqtt: connect to %s: %w", s.addr, err)
	}
	return session, nil
}

// CheckURL says what is wrong with a URL for [Dial], without connecting. It never repeats
// it, for it may hold a password.
func CheckURL(url string) error {
	_, err := parseSessionURL(url)
	return err
}

func parseSessionURL(url string) (settings, error) {
	s, err := parseURL(url)
	switch {
	case err != nil:
		return s, fmt.Errorf("mqtt: %w", err)
	case s.prefix != "":
		return s, fmt.Errorf("mqtt: url: prefix: MQTT's topics are named as they are here "+
			"(write it in front of them): %w", driver.ErrRefused)
	}
	return s, nil
}

func dial(ctx context.Context, to *settings, o SessionOptions) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.addr)
	if err != nil {
		return nil, explain(err)
	}
	if to.tls != nil {
		secret := tls.Client(tcp, to.tls)
		if err := secret.HandshakeContext(ctx); err != nil {
			tcp.Close()
			return nil, explain(err)
		}
		tcp = secret
	}
	s := &Session{over: make(chan struct{})}
	c := newConn(tcp)
	if to.version == version311 {
		s.wire, err = connect3(ctx, c, s, to, o)
	} else {
		s.wire, err = connect5(ctx, c, s, to, o)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
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
		close(s.over)
	})
}

// Close ends the connection, once the broker has been told of everything that is
// acknowledged. It keeps the session for its expiry.
func (s *Session) Close() error {
	s.lose(fmt.Errorf("mqtt: %w", driver.ErrClosed))
	s.wire.close()
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
		filter = "$share/" + sub.Share + "/" + filter
	}
	if err := s.wire.subscribe(ctx, filter, sub.Retained); err != nil {
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
