package deedmqtt

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
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
		return settings{}, fmt.Errorf("%w: url: %w", driver.ErrRefused, err)
	}
	return s, nil
}

func readURL(text string) (s settings, err error) {
	u, q, err := driverkit.ParseURL(text, "mqtt://USER:PASSWORD@HOST:PORT", parameters)
	if err != nil {
		return s, err
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
	if s.prefix = strings.Trim(q.Get("prefix"), "/"); s.prefix != "" {
		if strings.ContainsAny(s.prefix, "+#\x00") || strings.HasPrefix(s.prefix, "$") {
			return s, fmt.Errorf("prefix %q (want an MQTT topic without + and #)", s.prefix)
		}
		s.prefix += "/"
	}
	s.room = driverkit.Room{Events: 4096, Bytes: 16 << 20}
	if err := s.room.Read(q); err != nil {
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
	if name := driverkit.WantsTLS(q); s.tls == nil && name != "" {
		return s, fmt.Errorf("%s wants TLS (mqtts://)", name)
	}
	if s.tls != nil {
		err = driverkit.ReadTLS(s.tls, q)
	}
	return s, err
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
