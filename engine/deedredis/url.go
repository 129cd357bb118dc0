package deedredis

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
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
	"addr", "master_set", "sentinel_user", "sentinel_password", "db", "client_name", "dial_timeout", "write_timeout",
	"skip_verify", "ca", "cert", "key", "prefix", "wait", "waitaof", "wait_timeout",
}

// defaultPatience is how long to wait for replicas.
const defaultPatience = 2 * time.Second

// parseURL reads a URL. An error never repeats it, for it may hold a password.
func parseURL(text string) (s settings, err error) {
	refuse := func(format string, args ...any) (settings, error) {
		return settings{}, fmt.Errorf("%w: url: "+format, append([]any{driver.ErrRefused}, args...)...)
	}
	u, err := url.Parse(text)
	if err != nil {
		return refuse("cannot be read (want redis://USER:PASSWORD@HOST:PORT/DB, special characters as %%XX)")
	}
	q := u.Query()
	for name := range q {
		if !slices.Contains(parameters, name) {
			return refuse("unknown parameter %q (want %s)", name, strings.Join(parameters, ", "))
		}
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if s.client, err = rueidis.ParseURL(u.String()); err != nil {
		return refuse("%v", err)
	}
	s.prefix = "deed"
	if q.Has("prefix") {
		s.prefix = q.Get("prefix")
	}
	if s.prefix == "" || strings.ContainsAny(s.prefix, "{}") {
		return refuse("prefix is %q (want a name without braces)", s.prefix)
	}
	if s.replicas, err = number(q, "wait"); err != nil {
		return refuse("%v", err)
	}
	synced, err := number(q, "waitaof")
	if err != nil || synced > 1 {
		return refuse("waitaof is %q (want 0 or 1)", q.Get("waitaof"))
	}
	s.synced = synced == 1
	s.patience = defaultPatience
	if q.Has("wait_timeout") {
		if s.patience, err = time.ParseDuration(q.Get("wait_timeout")); err != nil || s.patience < time.Millisecond {
			return refuse("wait_timeout is %q (want a time such as 2s)", q.Get("wait_timeout"))
		}
	}
	s.client.Sentinel.Username, s.client.Sentinel.Password = q.Get("sentinel_user"), q.Get("sentinel_password")
	if err := certificates(&s.client, q); err != nil {
		return refuse("%v", err)
	}
	tune(&s.client)
	return s, nil
}

func number(q url.Values, name string) (int, error) {
	if !q.Has(name) {
		return 0, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q (want a number)", name, q.Get(name))
	}
	return n, nil
}

// certificates reads the files of ca, cert and key.
func certificates(o *rueidis.ClientOption, q url.Values) error {
	if !q.Has("ca") && !q.Has("cert") {
		return nil
	}
	if o.TLSConfig == nil {
		return fmt.Errorf("ca and cert want TLS (rediss://)")
	}
	if q.Has("ca") {
		pem, err := os.ReadFile(q.Get("ca"))
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca: %s holds no certificate", q.Get("ca"))
		}
		o.TLSConfig.RootCAs = pool
	}
	if q.Has("cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("cert"), q.Get("key"))
		if err != nil {
			return fmt.Errorf("cert: %w", err)
		}
		o.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// tune sets what is deed's to decide. The client retries nothing: what it could not
// tell to be done, package deed repeats with the same stamps. One connection carries
// all that is not blocked, so that a partition's batches stay in order.
func tune(o *rueidis.ClientOption) {
	o.DisableRetry = true
	o.DisableCache = true
	o.PipelineMultiplex = -1
	o.ReadBufferEachConn = 1 << 17
	o.WriteBufferEachConn = 1 << 17
	o.BlockingPoolCleanup = time.Minute
	if o.Dialer.Timeout == 0 {
		o.Dialer.Timeout = 5 * time.Second
	}
	if o.ConnWriteTimeout == 0 {
		o.ConnWriteTimeout = 10 * time.Second
	}
	if o.TLSConfig != nil && o.Sentinel.MasterSet != "" {
		o.Sentinel.TLSConfig = o.TLSConfig
	}
}
