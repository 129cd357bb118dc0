package driverkit

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
)

// What engines read from their URLs alike. The errors name the parameter and what is wanted,
// and never repeat the URL, which may hold a password.

// ParseURL takes a URL apart that looks as example does, and refuses parameters
// that are not known, and those given twice that are not repeatable.
func ParseURL(text, example string, known []string, repeatable ...string) (*url.URL, url.Values, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, nil, fmt.Errorf("cannot be read (want %s, special characters as %%XX)", example)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, nil, errors.New("its parameters cannot be read (want ?NAME=VALUE&NAME=VALUE, special characters as %XX)")
	}
	return u, q, checkParameters(q, known, repeatable...)
}

// WithPort returns host with a port: its own, or else the one given.
func WithPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return host
}

// checkParameters refuses parameters that are not known, and those given twice that are not
// repeatable.
func checkParameters(q url.Values, known []string, repeatable ...string) error {
	for name, values := range q {
		switch {
		case !slices.Contains(known, name):
			return fmt.Errorf("unknown parameter %q (want %s)", name, strings.Join(known, ", "))
		case len(values) > 1 && !slices.Contains(repeatable, name):
			return fmt.Errorf("%s is given %d times (want once)", name, len(values))
		}
	}
	return nil
}

// ReadTimes takes over the times that a URL gives, of a millisecond or longer.
func ReadTimes(q url.Values, to map[string]*time.Duration) error {
	for name, to := range to {
		if !q.Has(name) {
			continue
		}
		d, err := time.ParseDuration(q.Get(name))
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("%s is %q (want a time such as 2s)", name, q.Get(name))
		}
		*to = d
	}
	return nil
}

// ReadFlag returns a parameter that is true or false, false when the URL does not have it.
func ReadFlag(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	on, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, fmt.Errorf("%s is %q (want true or false)", name, q.Get(name))
	}
	return on, nil
}

// Read takes over what a URL says by buffer_events and buffer_bytes.
func (r *Room) Read(q url.Values) error {
	for name, to := range map[string]*int{"buffer_events": &r.Events, "buffer_bytes": &r.Bytes} {
		if !q.Has(name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 {
			return fmt.Errorf("%s is %q (want a number from 1)", name, q.Get(name))
		}
		*to = n
	}
	return nil
}

// WantsTLS returns the first of the parameters that [ReadTLS] reads, or "" when the URL has
// none. Without TLS they are a mistake.
func WantsTLS(q url.Values) string {
	for _, name := range []string{"ca", "cert", "key", "skip_verify"} {
		if q.Has(name) {
			return name
		}
	}
	return ""
}

// ReadTLS takes over what a URL says of certificates: the files ca, whom to trust, and cert
// and key, who one is; and skip_verify, which trusts everybody.
func ReadTLS(c *tls.Config, q url.Values) error {
	if q.Has("cert") != q.Has("key") {
		return errors.New("cert and key mean nothing without each other")
	}
	if q.Has("ca") {
		pem, err := os.ReadFile(q.Get("ca"))
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate (want PEM)", q.Get("ca"))
		}
	}
	if q.Has("cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	skip, err := ReadFlag(q, "skip_verify")
	c.InsecureSkipVerify = skip
	return err
}
