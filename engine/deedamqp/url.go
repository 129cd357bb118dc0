package deedamqp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// settings are what a URL says.
type settings struct {
	nodes     []string // host:port, of one cluster
	vhost     string
	auth      amqp.Authentication
	tls       *tls.Config   // nil without
	dial      time.Duration // how long a connection may take
	heartbeat time.Duration
	check     bool // topology is looked at and never changed
	streams   bool // a partition is a stream
}

// The parameters that a URL may have; docs/guides/rabbitmq.md explains them.
var parameters = []string{
	"node", "dial_timeout", "heartbeat", "topology", "queues", "ca", "cert", "key", "server_name", "skip_verify",
}

const (
	defaultDial = 5 * time.Second
	// defaultHeartbeat lets the server end the connection of a member that is frozen within
	// twice the time, which is less than the lease of a member by default: until then its
	// queues give nothing to others.
	defaultHeartbeat = 3 * time.Second
)

// parseURL reads a URL. An error never repeats it, for it may hold a password.
func parseURL(text string) (settings, error) {
	s, err := readURL(text)
	if err != nil {
		return settings{}, fmt.Errorf("%w: url: %w", driver.ErrRefused, err)
	}
	return s, nil
}

func readURL(text string) (s settings, err error) {
	u, q, err := driverkit.ParseURL(text, "amqp://USER:PASSWORD@HOST:PORT/VHOST", parameters, "node")
	if err != nil {
		return s, err
	}
	port := "5672"
	switch u.Scheme {
	case "amqp":
	case "amqps":
		port, s.tls = "5671", &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return s, fmt.Errorf("scheme %q (want amqp or amqps)", u.Scheme)
	}
	if u.Hostname() == "" {
		return s, errors.New("it names no host (want amqp://HOST:PORT/VHOST)")
	}
	for _, node := range append([]string{u.Host}, q["node"]...) {
		s.nodes = append(s.nodes, driverkit.WithPort(node, port))
	}
	s.vhost = "/"
	if path := strings.TrimPrefix(u.EscapedPath(), "/"); path != "" {
		if s.vhost, err = url.PathUnescape(path); err != nil || strings.Contains(path, "/") {
			return s, errors.New("its path is no virtual host (want /NAME, with %2F for a slash)")
		}
	}
	user, password := "guest", "guest"
	if u.User.Username() != "" {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	s.auth = &amqp.PlainAuth{Username: user, Password: password}
	for _, read := range []func(url.Values) error{s.readTimes, s.readTopology, s.readQueues, s.readTLS} {
		if err := read(q); err != nil {
			return s, err
		}
	}
	if u.User == nil && q.Has("cert") { // the certificate says who it is
		s.auth = &amqp.ExternalAuth{}
	}
	return s, nil
}

func (s *settings) readTimes(q url.Values) error {
	s.dial, s.heartbeat = defaultDial, defaultHeartbeat
	err := driverkit.ReadTimes(q, map[string]*time.Duration{"dial_timeout": &s.dial, "heartbeat": &s.heartbeat})
	if err == nil && (s.heartbeat < 2*time.Second || s.heartbeat > time.Hour) {
		err = fmt.Errorf("heartbeat is %q (want 2s to 1h)", q.Get("heartbeat"))
	}
	return err
}

func (s *settings) readTopology(q url.Values) error {
	switch q.Get("topology") {
	case "", "make":
	case "check":
		s.check = true
	default:
		return fmt.Errorf("topology is %q (want make or check)", q.Get("topology"))
	}
	return nil
}

func (s *settings) readQueues(q url.Values) error {
	switch q.Get("queues") {
	case "", "quorum":
	case "stream":
		s.streams = true
	default:
		return fmt.Errorf("queues is %q (want quorum or stream)", q.Get("queues"))
	}
	return nil
}

// readTLS reads what TLS takes.
func (s *settings) readTLS(q url.Values) error {
	if s.tls != nil {
		s.tls.ServerName = q.Get("server_name")
		return driverkit.ReadTLS(s.tls, q)
	}
	if name := driverkit.WantsTLS(q); name != "" {
		return fmt.Errorf("%s wants TLS (amqps://)", name)
	}
	if q.Has("server_name") {
		return errors.New("server_name wants TLS (amqps://)")
	}
	return nil
}
