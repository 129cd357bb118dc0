package deedkafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// settings are what a URL says.
type settings struct {
	options  []kgo.Opt
	replicas int16 // of new topics; -1 is the cluster's default
	schema   int   // id to write in front of data, 0 for none
}

// The parameters that a URL may have; docs/guides/kafka.md explains them.
var parameters = []string{
	"broker", "client_id", "dial_timeout", "tls", "skip_verify", "ca", "cert", "key", "server_name", "sasl",
	"replicas", "schema_id", "tunnel",
}

const (
	defaultPort = "9092"
	defaultDial = 5 * time.Second
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
	const example = "kafka://USER:PASSWORD@HOST:PORT?NAME=VALUE"
	u, q, err := driverkit.ParseURL(text, example, parameters, "broker")
	if err != nil {
		return s, err
	}
	if u.Scheme != "kafka" || strings.Trim(u.Path, "/") != "" {
		return s, fmt.Errorf("cannot be read (want %s)", example)
	}
	seeds := []string{driverkit.WithPort(u.Host, defaultPort)}
	for _, broker := range q["broker"] {
		seeds = append(seeds, driverkit.WithPort(broker, defaultPort))
	}
	if u.Hostname() == "" {
		return s, errors.New("names no broker (want kafka://HOST:PORT)")
	}
	id := "deed"
	if q.Has("client_id") {
		id = q.Get("client_id")
	}
	s.options = append(s.options, kgo.SeedBrokers(seeds...), kgo.ClientID(id))
	for _, read := range []func(*url.URL, url.Values) error{s.readDial, s.readSASL, s.readTopics} {
		if err := read(u, q); err != nil {
			return s, err
		}
	}
	return s, nil
}

// readDial sets how connections are made.
func (s *settings) readDial(u *url.URL, q url.Values) error {
	timeout := defaultDial
	if err := driverkit.ReadTimes(q, map[string]*time.Duration{"dial_timeout": &timeout}); err != nil {
		return err
	}
	config, err := readTLS(q)
	if err != nil {
		return err
	}
	tunnel, err := driverkit.ReadFlag(q, "tunnel")
	switch {
	case err != nil:
		return err
	case tunnel && q.Has("broker"):
		return errors.New("a tunnel leads to one address, so that broker means nothing beside it")
	case tunnel:
		s.options = append(s.options, through(driverkit.WithPort(u.Host, defaultPort), timeout, config))
	case config != nil:
		s.options = append(s.options, kgo.DialTLSConfig(config), kgo.DialTimeout(timeout))
	default:
		s.options = append(s.options, kgo.DialTimeout(timeout))
	}
	return nil
}

// through dials one address, whatever a broker says is its own: that of a single broker
// behind a tunnel.
func through(address string, timeout time.Duration, config *tls.Config) kgo.Opt {
	plain := &net.Dialer{Timeout: timeout}
	return kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		if config == nil {
			return plain.DialContext(ctx, network, address)
		}
		return (&tls.Dialer{NetDialer: plain, Config: config}).DialContext(ctx, network, address)
	})
}

// readTLS returns nil where nothing asks for TLS.
func readTLS(q url.Values) (*tls.Config, error) {
	on, err := driverkit.ReadFlag(q, "tls")
	if err != nil {
		return nil, err
	}
	if !on && driverkit.WantsTLS(q) == "" && !q.Has("server_name") {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: q.Get("server_name")}
	return config, driverkit.ReadTLS(config, q)
}

// readSASL sets how the client says who it is.
func (s *settings) readSASL(u *url.URL, q url.Values) error {
	user := u.User.Username()
	password, _ := u.User.Password()
	if user == "" {
		if q.Has("sasl") {
			return errors.New("sasl means nothing without kafka://USER:PASSWORD@HOST")
		}
		return nil
	}
	var mechanism sasl.Mechanism
	switch name := strings.ToLower(q.Get("sasl")); name {
	case "", "plain":
		mechanism = plain.Auth{User: user, Pass: password}.AsMechanism()
	case "scram-sha-256":
		mechanism = scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "scram-sha-512":
		mechanism = scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	default:
		return fmt.Errorf("sasl is %q (want plain, scram-sha-256 or scram-sha-512)", name)
	}
	s.options = append(s.options, kgo.SASL(mechanism))
	return nil
}

// readTopics sets what topics are like.
func (s *settings) readTopics(_ *url.URL, q url.Values) error {
	s.replicas = -1
	if q.Has("replicas") {
		n, err := strconv.ParseInt(q.Get("replicas"), 10, 16)
		if err != nil || n < 1 {
			return fmt.Errorf("replicas is %q (want a number from 1)", q.Get("replicas"))
		}
		s.replicas = int16(n)
	}
	if q.Has("schema_id") {
		n, err := strconv.ParseInt(q.Get("schema_id"), 10, 32)
		if err != nil || n < 1 {
			return fmt.Errorf("schema_id is %q (want a number from 1)", q.Get("schema_id"))
		}
		s.schema = int(n)
	}
	return nil
}
