package deednats

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
)

// settings are what a URL says.
type settings struct {
	servers  []string
	options  []nats.Option
	prefix   string
	domain   string // of JetStream, "" for the server's own
	replicas int
	monitor  string // where a server tells how it is set up, "" when nobody said
	patience time.Duration
}

// The parameters that a URL may have; docs/guides/nats.md explains them.
var parameters = []string{
	"addr", "ca", "cert", "creds", "dial_timeout", "domain", "key", "monitor", "nkey", "prefix", "replicas", "skip_verify",
	"timeout", "tls",
}

const (
	defaultDial     = 5 * time.Second
	defaultPatience = 10 * time.Second // for an answer, where the caller does not say
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
	if err != nil || u.Opaque != "" || u.Fragment != "" || u.Hostname() == "" {
		return s, errors.New("cannot be read (want nats://USER:PASSWORD@HOST:PORT/PREFIX, special characters as %XX)")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return s, errors.New("its parameters cannot be read (want ?NAME=VALUE&NAME=VALUE, special characters as %XX)")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(parameters, name):
			return s, fmt.Errorf("unknown parameter %q (want %s)", name, strings.Join(parameters, ", "))
		case len(values) > 1 && name != "addr":
			return s, fmt.Errorf("%s is given %d times (want once)", name, len(values))
		}
	}
	s.prefix = strings.Trim(u.Path, "/")
	if q.Has("prefix") {
		s.prefix = q.Get("prefix")
	}
	if s.prefix == "" {
		s.prefix = "deed"
	}
	if token(s.prefix) != s.prefix {
		return s, fmt.Errorf("prefix is %q (want letters, digits, - and _)", s.prefix)
	}
	for _, host := range append([]string{u.Host}, q["addr"]...) {
		s.servers = append(s.servers, "nats://"+host)
	}
	s.domain = q.Get("domain")
	s.monitor = strings.TrimSuffix(q.Get("monitor"), "/")
	for _, read := range []func(*url.URL, url.Values) error{s.readNumbers, s.readUser, s.readTLS} {
		if err := read(u, q); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *settings) readNumbers(_ *url.URL, q url.Values) error {
	s.patience, s.replicas = defaultPatience, 1
	dial := defaultDial
	for name, to := range map[string]*time.Duration{"dial_timeout": &dial, "timeout": &s.patience} {
		if !q.Has(name) {
			continue
		}
		d, err := time.ParseDuration(q.Get(name))
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("%s is %q (want a time such as 2s)", name, q.Get(name))
		}
		*to = d
	}
	if q.Has("replicas") {
		n, err := strconv.Atoi(q.Get("replicas"))
		if err != nil || n != 1 && n != 3 && n != 5 {
			return fmt.Errorf("replicas is %q (want 1, 3 or 5)", q.Get("replicas"))
		}
		s.replicas = n
	}
	s.options = append(s.options, nats.Timeout(dial))
	return nil
}

// readUser takes over who the client says it is.
func (s *settings) readUser(u *url.URL, q url.Values) error {
	password, hasPassword := u.User.Password()
	switch {
	case hasPassword:
		s.options = append(s.options, nats.UserInfo(u.User.Username(), password))
	case u.User.Username() != "":
		s.options = append(s.options, nats.Token(u.User.Username()))
	}
	if q.Has("creds") {
		if _, err := os.Stat(q.Get("creds")); err != nil {
			return fmt.Errorf("creds: %w", err)
		}
		s.options = append(s.options, nats.UserCredentials(q.Get("creds")))
	}
	if q.Has("nkey") {
		option, err := nats.NkeyOptionFromSeed(q.Get("nkey"))
		if err != nil {
			return errors.New("nkey: the file holds no seed")
		}
		s.options = append(s.options, option)
	}
	return nil
}

// readTLS reads the files of ca, cert and key.
func (s *settings) readTLS(_ *url.URL, q url.Values) error {
	wanted := q.Get("tls") == "1" || q.Has("ca") || q.Has("cert") || q.Has("skip_verify")
	switch {
	case q.Has("tls") && q.Get("tls") != "0" && q.Get("tls") != "1":
		return fmt.Errorf("tls is %q (want 0 or 1)", q.Get("tls"))
	case q.Get("tls") == "0" && wanted:
		return errors.New("tls is 0, and ca, cert and skip_verify want it")
	case q.Has("cert") != q.Has("key"):
		return errors.New("cert and key mean nothing without each other")
	case !wanted:
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: q.Get("skip_verify") == "1"}
	if q.Has("ca") {
		pem, err := os.ReadFile(q.Get("ca"))
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", q.Get("ca"))
		}
	}
	if q.Has("cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	s.options = append(s.options, nats.Secure(c))
	return nil
}
