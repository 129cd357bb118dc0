package deedkafka

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

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/deedgo/deed/driver"
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
	"replicas", "schema_id",
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
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "kafka" || u.Opaque != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return s, errors.New("cannot be read (want kafka://USER:PASSWORD@HOST:PORT?NAME=VALUE, special characters as %XX)")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return s, errors.New("its parameters cannot be read (want ?NAME=VALUE&NAME=VALUE, special characters as %XX)")
	}
	if err := checkNames(q); err != nil {
		return s, err
	}
	seeds := []string{withPort(u.Host)}
	for _, broker := range q["broker"] {
		seeds = append(seeds, withPort(broker))
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

func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
	}
	return host
}

// checkNames refuses parameters that are unknown or given twice.
func checkNames(q url.Values) error {
	for name, values := range q {
		switch {
		case !slices.Contains(parameters, name):
			return fmt.Errorf("unknown parameter %q (want %s)", name, strings.Join(parameters, ", "))
		case len(values) > 1 && name != "broker":
			return fmt.Errorf("%s is given %d times (want once)", name, len(values))
		}
	}
	if q.Has("cert") != q.Has("key") {
		return errors.New("cert and key mean nothing without each other")
	}
	return nil
}

// readDial sets how connections are made.
func (s *settings) readDial(_ *url.URL, q url.Values) error {
	timeout := defaultDial
	if q.Has("dial_timeout") {
		d, err := time.ParseDuration(q.Get("dial_timeout"))
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("dial_timeout is %q (want a time such as 2s)", q.Get("dial_timeout"))
		}
		timeout = d
	}
	s.options = append(s.options, kgo.DialTimeout(timeout))
	on, err := flag(q, "tls")
	if err != nil {
		return err
	}
	skip, err := flag(q, "skip_verify")
	if err != nil {
		return err
	}
	if !on && !skip && !q.Has("ca") && !q.Has("cert") && !q.Has("server_name") {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skip, ServerName: q.Get("server_name")}
	if file := q.Get("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", file)
		}
	}
	if q.Has("cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	s.options = append(s.options, kgo.DialTLSConfig(config))
	return nil
}

func flag(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	on, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, fmt.Errorf("%s is %q (want true or false)", name, q.Get(name))
	}
	return on, nil
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
