package deedamqp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
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
}

// The parameters that a URL may have; docs/guides/rabbitmq.md explains them.
var parameters = []string{
	"node", "dial_timeout", "heartbeat", "topology", "ca", "cert", "key", "server_name", "skip_verify",
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
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return s, errors.New("cannot be read (want amqp://USER:PASSWORD@HOST:PORT/VHOST, special characters as %XX)")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return s, errors.New("its parameters cannot be read (want ?NAME=VALUE&NAME=VALUE, special characters as %XX)")
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
	if err := checkNames(q); err != nil {
		return s, err
	}
	for _, node := range append([]string{u.Host}, q["node"]...) {
		s.nodes = append(s.nodes, withPort(node, port))
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
	for _, read := range []func(url.Values) error{s.readTimes, s.readTopology, s.readTLS} {
		if err := read(q); err != nil {
			return s, err
		}
	}
	if u.User == nil && q.Has("cert") { // the certificate says who it is
		s.auth = &amqp.ExternalAuth{}
	}
	return s, nil
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return host
}

// checkNames refuses parameters that are unknown or given twice.
func checkNames(q url.Values) error {
	for name, values := range q {
		switch {
		case !slices.Contains(parameters, name):
			return fmt.Errorf("unknown parameter %q (want %s)", name, strings.Join(parameters, ", "))
		case len(values) > 1 && name != "node":
			return fmt.Errorf("%s is given %d times (want once)", name, len(values))
		}
	}
	return nil
}

func (s *settings) readTimes(q url.Values) error {
	s.dial, s.heartbeat = defaultDial, defaultHeartbeat
	if q.Has("dial_timeout") {
		d, err := time.ParseDuration(q.Get("dial_timeout"))
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("dial_timeout is %q (want a time such as 2s)", q.Get("dial_timeout"))
		}
		s.dial = d
	}
	if q.Has("heartbeat") {
		d, err := time.ParseDuration(q.Get("heartbeat"))
		if err != nil || d < 2*time.Second || d > time.Hour {
			return fmt.Errorf("heartbeat is %q (want 2s to 1h)", q.Get("heartbeat"))
		}
		s.heartbeat = d
	}
	return nil
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

// readTLS reads what TLS takes.
func (s *settings) readTLS(q url.Values) error {
	for _, name := range []string{"ca", "cert", "key", "server_name", "skip_verify"} {
		if q.Has(name) && s.tls == nil {
			return fmt.Errorf("%s wants TLS (amqps://)", name)
		}
	}
	if s.tls == nil {
		return nil
	}
	s.tls.ServerName = q.Get("server_name")
	if file := q.Get("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", file)
		}
	}
	if q.Has("cert") || q.Has("key") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		s.tls.Certificates = []tls.Certificate{pair}
	}
	if q.Has("skip_verify") {
		skip, err := strconv.ParseBool(q.Get("skip_verify"))
		if err != nil {
			return fmt.Errorf("skip_verify is %q (want true or false)", q.Get("skip_verify"))
		}
		s.tls.InsecureSkipVerify = skip
	}
	return nil
}
