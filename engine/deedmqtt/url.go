package deedmqtt

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// settings are what a URL says.
type settings struct {
	addr           string // host:port
	user, password string
	tls            *tls.Config // nil without
	prefix         string      // of MQTT topics, with its slash, or ""
	keepAlive      time.Duration
	version        string // of the protocol
	room           driverkit.Room
}

// parameters are those of the URL, for errors.
var parameters = []string{
	"buffer_bytes", "buffer_events", "ca", "cert", "keep_alive", "key", "prefix", "skip_verify", "version",
}

const (
	keepAliveDefault = 30 * time.Second

	version5   = "5"
	version311 = "3.1.1"
)

// parseURL reads a URL. An error never repeats it, for it may hold a password.
func parseURL(text string) (settings, error) {
	s, err := readURL(text)
	if err != nil {
		return settings{}, fmt.Errorf("url: %w: %w", err, driver.ErrRefused)
	}
	return s, nil
}

func readURL(text string) (s settings, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return s, fmt.Errorf("cannot be read (want mqtt://USER:PASSWORD@HOST:PORT, special characters as %%XX)")
	}
	port := "1883"
	switch u.Scheme {
	case "mqtt":
	case "mqtts":
		port = "8883"
		s.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return s, fmt.Errorf("scheme %q (want mqtt or mqtts)", u.Scheme)
	}
	if u.Hostname() == "" {
		return s, fmt.Errorf("it names no host (want mqtt://HOST:PORT)")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	s.addr = net.JoinHostPort(u.Hostname(), port)
	if strings.Trim(u.Path, "/") != "" {
		return s, fmt.Errorf("path %s (put programs apart by ?prefix=NAME)", u.Path)
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	q := u.Query()
	for name := range q {
		if !slices.Contains(parameters, name) {
			return s, fmt.Errorf("unknown parameter %q (want %s)", name, strings.Join(parameters, ", "))
		}
	}
	if s.prefix = strings.Trim(q.Get("prefix"), "/"); s.prefix != "" {
		if strings.ContainsAny(s.prefix, "+#\x00") || strings.HasPrefix(s.prefix, "$") {
			return s, fmt.Errorf("prefix %q (want an MQTT topic without + and #)", s.prefix)
		}
		s.prefix += "/"
	}
	if s.room, err = readRoom(q); err != nil {
		return s, err
	}
	s.keepAlive = keepAliveDefault
	if q.Has("keep_alive") {
		s.keepAlive, err = time.ParseDuration(q.Get("keep_alive"))
		if err != nil || s.keepAlive < time.Second || s.keepAlive > 18*time.Hour {
			return s, fmt.Errorf("keep_alive is %q (want 1s to 18h)", q.Get("keep_alive"))
		}
	}
	if s.version = cmp.Or(q.Get("version"), version5); s.version != version5 && s.version != version311 {
		return s, fmt.Errorf("version is %q (want %s or %s)", s.version, version5, version311)
	}
	return s, s.readTLS(q)
}

func readRoom(q url.Values) (driverkit.Room, error) {
	room := driverkit.Room{Events: 4096, Bytes: 16 << 20}
	for name, to := range map[string]*int{"buffer_events": &room.Events, "buffer_bytes": &room.Bytes} {
		if !q.Has(name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 1 {
			return room, fmt.Errorf("%s is %q (want a number from 1)", name, q.Get(name))
		}
		*to = n
	}
	return room, nil
}

// readTLS reads the files of ca, cert and key.
func (s *settings) readTLS(q url.Values) error {
	for _, name := range []string{"ca", "cert", "key", "skip_verify"} {
		if q.Has(name) && s.tls == nil {
			return fmt.Errorf("%s wants TLS (mqtts://)", name)
		}
	}
	if q.Has("ca") {
		pem, err := os.ReadFile(q.Get("ca"))
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", q.Get("ca"))
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
			return fmt.Errorf("skip_verify is %q (want 0 or 1)", q.Get("skip_verify"))
		}
		s.tls.InsecureSkipVerify = skip
	}
	return nil
}

// topic returns the MQTT topic of a topic.
func (s *settings) topic(name string) string { return s.prefix + strings.ReplaceAll(name, ".", "/") }

// name returns the topic's name for an MQTT topic below the prefix.
func (s *settings) name(topic string) string {
	return strings.ReplaceAll(strings.TrimPrefix(topic, s.prefix), "/", ".")
}

// filter returns what to subscribe to for a pattern: the levels before its first star, and
// all below them, of which not everything has to match.
func (s *settings) filter(pattern string) string {
	first, _, _ := strings.Cut(pattern, "*")
	levels := first[:strings.LastIndexByte(first, '.')+1]
	return s.topic(levels) + "#"
}
