package deedamqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// link is a connection to the server. It is made when somebody wants it, and again after it
// broke.
type link struct {
	s    *settings
	name string // which the server shows

	busy    chan struct{} // of one: whoever has it may connect
	conn    atomic.Pointer[amqp.Connection]
	blocked atomic.Pointer[string] // why the server takes nothing, nil when it does
	closed  atomic.Bool
	watches sync.WaitGroup
}

func newLink(s *settings, name string) *link {
	return &link{s: s, name: name, busy: make(chan struct{}, 1)}
}

// get returns the connection.
func (l *link) get(ctx context.Context) (*amqp.Connection, error) {
	if conn := l.conn.Load(); conn != nil && !conn.IsClosed() {
		return conn, nil
	}
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if conn := l.conn.Load(); conn != nil && !conn.IsClosed() {
		return conn, nil
	}
	if l.closed.Load() {
		return nil, driver.ErrClosed
	}
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.conn.Store(conn)
	if l.closed.Load() { // meanwhile
		conn.CloseDeadline(time.Now())
		return nil, driver.ErrClosed
	}
	return conn, nil
}

// dial tries the nodes in turn.
func (l *link) dial(ctx context.Context) (*amqp.Connection, error) {
	var errs []error
	for _, node := range l.s.nodes {
		conn, err := l.dialNode(ctx, node)
		if err == nil {
			l.watch(conn)
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", node, err))
		if ctx.Err() != nil || code(err) == amqp.AccessRefused || code(err) == amqp.NotAllowed {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (l *link) dialNode(ctx context.Context, node string) (*amqp.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, l.s.dial)
	defer cancel()
	scheme, config := "amqp", amqp.Config{
		SASL: []amqp.Authentication{l.s.auth}, Vhost: l.s.vhost, Heartbeat: l.s.heartbeat,
		Properties: amqp.NewConnectionProperties(),
		Dial: func(network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			deadline, _ := ctx.Deadline()
			return conn, conn.SetDeadline(deadline) // the client lifts it when it is connected
		},
	}
	config.Properties.SetClientConnectionName(l.name)
	if l.s.tls != nil {
		scheme = "amqps"
		config.TLSClientConfig = l.s.tls.Clone()
		if config.TLSClientConfig.ServerName == "" {
			host, _, _ := net.SplitHostPort(node)
			config.TLSClientConfig.ServerName = host
		}
	}
	conn, err := amqp.DialConfig(scheme+"://"+node, config)
	var alert *tls.CertificateVerificationError
	if errors.As(err, &alert) {
		err = fmt.Errorf("%w: %w", driver.ErrRefused, err)
	}
	return conn, err
}

// watch notes when the server takes nothing, because it is short of memory or disk.
func (l *link) watch(conn *amqp.Connection) {
	l.blocked.Store(nil)
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	l.watches.Go(func() { // ends with the connection, which closes the channel
		for b := range blocked {
			if b.Active {
				l.blocked.Store(&b.Reason)
			} else {
				l.blocked.Store(nil)
			}
		}
	})
}

// close ends the connection, without an answer where that takes long.
func (l *link) close() {
	l.closed.Store(true)
	if conn := l.conn.Load(); conn != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
	}
	l.watches.Wait()
}
