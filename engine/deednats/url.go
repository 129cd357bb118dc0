package deednats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
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
	const example = "nats://USER:PASSWORD@HOST:PORT/PREFIX"
	u, q, err := driverkit.ParseURL(text, example, parameters, "addr")
	if err != nil {
		return s, err
	}
	if u.Hostname() == "" {
		return s, fmt.Errorf("names no host (want %s)", example)
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
	times := map[string]*time.Duration{"dial_timeout": &dial, "timeout": &s.patience}
	if err := driverkit.ReadTimes(q, times); err != nil {
		return err
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

// readTLS sets up TLS when a parameter asks for it.
func (s *settings) readTLS(_ *url.URL, q url.Values) error {
	on, err := driverkit.ReadFlag(q, "tls")
	name := driverkit.WantsTLS(q)
	switch {
	case err != nil:
		return err
	case q.Has("tls") && !on && name != "":
		return fmt.Errorf("tls is 0, and %s wants it", name)
	case !on && name == "":
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if err := driverkit.ReadTLS(c, q); err != nil {
		return err
	}
	s.options = append(s.options, nats.Secure(c))
	return nil
}
