package deedredis

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

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// settings are what a URL says.
type settings struct {
	client   rueidis.ClientOption
	prefix   string
	replicas int           // that have to have an event before it counts as accepted
	synced   bool          // this server has to have synced it
	patience time.Duration // how long to wait for both
}

// The parameters that a URL may have; docs/guides/redis.md explains them.
var parameters = []string{
	"addr", "master_set", "sentinel_user", "sentinel_password", "socket", "db", "client_name", "dial_timeout",
	"write_timeout", "skip_verify", "ca", "cert", "key", "prefix", "wait", "waitaof", "wait_timeout",
}

// wants are the parameters that mean nothing without another.
var wants = []struct{ name, other string }{
	{"sentinel_user", "master_set"}, {"sentinel_password", "master_set"}, {"cert", "key"}, {"key", "cert"},
}

const (
	// defaultPatience is how long to wait for replicas.
	defaultPatience = 2 * time.Second
	// defaultDial is how long a connection may take, defaultWrite how long an answer.
	defaultDial  = 5 * time.Second
	defaultWrite = 10 * time.Second
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
	u, q, err := driverkit.ParseURL(text, "redis://USER:PASSWORD@HOST:PORT/DB", parameters, "addr")
	if err != nil {
		return s, err
	}
	if err := checkMeaning(q); err != nil {
		return s, err
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if s.client, err = rueidis.ParseURL(u.String()); err != nil {
		return s, errors.New(strings.TrimPrefix(err.Error(), "redis: "))
	}
	if s.client.SelectDB < 0 {
		return s, fmt.Errorf("db is %d (want 0 or more)", s.client.SelectDB)
	}
	s.prefix = "deed"
	if q.Has("prefix") {
		s.prefix = q.Get("prefix")
	}
	if s.prefix == "" || strings.ContainsAny(s.prefix, "{}") {
		return s, fmt.Errorf("prefix is %q (want a name without braces)", s.prefix)
	}
	s.client.Sentinel.Username, s.client.Sentinel.Password = q.Get("sentinel_user"), q.Get("sentinel_password")
	for _, read := range []func(url.Values) error{s.readTimes, s.readWaits, s.readTLS, s.readSocket} {
		if err := read(q); err != nil {
			return s, err
		}
	}
	s.tune()
	return s, nil
}

// checkMeaning refuses parameters that are alone where they want another, and addresses
// that are none.
func checkMeaning(q url.Values) error {
	for _, w := range wants {
		if q.Has(w.name) && !q.Has(w.other) {
			return fmt.Errorf("%s means nothing without %s", w.name, w.other)
		}
	}
	for _, addr := range q["addr"] {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("addr is %q (want HOST:PORT)", addr)
		}
	}
	return nil
}

// readTimes sets what the client has taken as it was.
func (s *settings) readTimes(q url.Values) error {
	s.client.Dialer.Timeout, s.client.ConnWriteTimeout, s.patience = defaultDial, defaultWrite, defaultPatience
	return driverkit.ReadTimes(q, map[string]*time.Duration{
		"dial_timeout": &s.client.Dialer.Timeout, "write_timeout": &s.client.ConnWriteTimeout, "wait_timeout": &s.patience,
	})
}

func (s *settings) readWaits(q url.Values) error {
	if q.Has("wait") {
		n, err := strconv.Atoi(q.Get("wait"))
		if err != nil || n < 0 {
			return fmt.Errorf("wait is %q (want a number of replicas)", q.Get("wait"))
		}
		s.replicas = n
	}
	if text := q.Get("waitaof"); q.Has("waitaof") {
		if text != "0" && text != "1" {
			return fmt.Errorf("waitaof is %q (want 0 or 1)", text)
		}
		s.synced = text == "1"
	}
	if s.waits() && s.patience >= s.client.ConnWriteTimeout {
		return fmt.Errorf("wait_timeout is %v, write_timeout is %v (want less than that)",
			s.patience, s.client.ConnWriteTimeout)
	}
	return nil
}

// waits tells whether publishing waits for more than the server's answer.
func (s *settings) waits() bool { return s.replicas > 0 || s.synced }

// readSocket lets the client connect to a file instead of an address.
func (s *settings) readSocket(q url.Values) error {
	if !q.Has("socket") {
		return nil
	}
	path := q.Get("socket")
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("socket is %q (want a path that begins with /)", path)
	case s.client.TLSConfig != nil, q.Has("addr"), q.Has("master_set"):
		return errors.New("socket is for one server without TLS")
	}
	s.client.InitAddress = []string{path}
	s.client.ForceSingleClient = true
	s.client.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return d.DialContext(ctx, "unix", path)
	}
	return nil
}

// tune sets what is deed's to decide. The client retries nothing: what it could not
// tell to be done, package deed repeats with the same stamps. One connection carries
// all that is not blocked, so that a partition's batches stay in order.
func (s *settings) tune() {
	o := &s.client
	o.DisableRetry = true
	o.DisableCache = true
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	o.PipelineMultiplex = -1
	o.ReadBufferEachConn = 1 << 17
	o.WriteBufferEachConn = 1 << 17
	o.BlockingPoolCleanup = time.Minute
	if o.TLSConfig != nil && o.Sentinel.MasterSet != "" {
		o.Sentinel.TLSConfig = o.TLSConfig
	}
}
