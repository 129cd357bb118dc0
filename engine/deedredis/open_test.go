package deedredis

import (
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// open opens a URL for a test.
func open(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// put publishes n events to partition 0 of a topic, which it makes.
func put(t *testing.T, c *Conn, topic string, n int) error {
	t.Helper()
	if _, err := c.CreateTopic(t.Context(), topic, driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	b := driver.Batch{Topic: topic}
	for range n {
		b.Messages = append(b.Messages, driver.Message{ID: "1", Source: "/test", Type: "t", Data: []byte("{}")})
	}
	receipts, err := c.Publish(t.Context(), []driver.Batch{b})
	return errors.Join(err, receipts[0].Err)
}

// command runs a command on a server.
func command(t *testing.T, s *redistest.Server, args ...string) string {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// as returns a URL with a user.
func as(t *testing.T, s *redistest.Server, user, password string) string {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func TestOpenWays(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	s := redistest.Start(t, "requirepass geheim", "unixsocket "+socket)
	command(t, s, "ACL", "SETUSER", "shop", "on", ">p@ss:word", "~*", "&*", "+@all")
	for name, c := range map[string]struct{ url, at, db string }{
		"password": {s.URL(), "deed:{x:0}", "0"},
		"user":     {as(t, s, "shop", "p@ss:word"), "deed:{x:0}", "0"},
		"path":     {s.URL() + "/3", "deed:{x:0}", "3"},
		"db":       {s.URL() + "?db=4", "deed:{x:0}", "4"},
		"prefix":   {s.URL() + "?prefix=shop", "shop:{x:0}", "0"},
		"socket":   {s.URL() + "/5?socket=" + socket, "deed:{x:0}", "5"},
	} {
		command(t, s, "FLUSHALL")
		if err := put(t, open(t, c.url), "x", 2); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		keys := command(t, s, "INFO", "keyspace")
		if !strings.Contains(keys, "db"+c.db+":keys=") || strings.Count(keys, ":keys=") != 1 {
			t.Errorf("%s: want keys in database %s: %s", name, c.db, keys)
		}
		if c.db == "0" && command(t, s, "XLEN", c.at) != "2" {
			t.Errorf("%s: the log is not at %s", name, c.at)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, c := redistest.StartTLS(t)
	_, other := redistest.StartTLS(t)
	if err := put(t, open(t, s.URL()+"?ca="+c.CAFile), "x", 1); err != nil {
		t.Error(err)
	}
	if err := put(t, open(t, s.URL()+"?skip_verify=true"), "x", 1); err != nil {
		t.Error(err)
	}
	for name, params := range map[string]string{"another authority": "?ca=" + other.CAFile, "the system's": ""} {
		_, err := Open(t.Context(), s.URL()+params, nil)
		refused(t, name, err, "the server's certificate is not trusted (name its authority by ca=FILE)")
	}

	strict, c := redistest.StartTLS(t, "tls-auth-clients yes")
	own := strict.URL() + "?ca=" + c.CAFile
	if err := put(t, open(t, own+"&cert="+c.CertFile+"&key="+c.KeyFile), "x", 1); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), own, nil); err == nil {
		t.Error("a server that wants a certificate is opened without")
	}
}

// refused fails unless err is a refusal that says what is wanted.
func refused(t *testing.T, name string, err error, want string) {
	t.Helper()
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v (want a refusal with %q)", name, err, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t, "requirepass geheim")
	for user, rules := range map[string]string{
		"noscripts": "+@all -@scripting", "nokeys": "+@all resetkeys ~other:*", "noinfo": "+@all -info",
	} {
		args := append([]string{"ACL", "SETUSER", user, "on", ">geheim", "~*", "&*"}, strings.Fields(rules)...)
		command(t, plain, args...)
	}
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	evicting := redistest.Start(t, "maxmemory 100mb", "maxmemory-policy allkeys-lru")
	for name, c := range map[string]struct{ url, want string }{
		"no password":    {"redis://" + plain.Addr(), "the server wants a user and password (redis://USER:PASSWORD@HOST)"},
		"wrong password": {as(t, plain, "", "falsch"), "the user or password is wrong"},
		"no such user":   {as(t, plain, "nobody", "falsch"), "the user or password is wrong"},
		"no scripts":     {as(t, plain, "noscripts", "geheim"), "the user may not do this (see docs/guides/redis.md for "},
		"no keys":        {as(t, plain, "nokeys", "geheim"), "run a script on the keys deed:*: "},
		"no INFO":        {as(t, plain, "noinfo", "geheim"), "what it is: "},
		"a replica":      {replica.URL(), " is a replica (connect to its master " + master.Addr()},
		"evicts":         {evicting.URL(), "maxmemory-policy is allkeys-lru (set it to noeviction)"},
		"no such db":     {plain.URL() + "/99", "the server has no database of this number"},
		"waitaof":        {plain.URL() + "?waitaof=1", "Redis 7.0.15, which has no WAITAOF"},
	} {
		if name == "waitaof" && !strings.Contains(command(t, plain, "INFO", "server"), "redis_version:7.0.") {
			continue // a later one has it
		}
		_, err := Open(t.Context(), c.url, nil)
		refused(t, name, err, c.want)
		if err != nil && (strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "falsch")) {
			t.Errorf("%s: a password is told: %v", name, err)
		}
	}
	command(t, evicting, "CONFIG", "SET", "maxmemory-policy", "volatile-lru") // deed's keys have no end
	open(t, evicting.URL())
}

func TestOpenClusterRefuses(t *testing.T) {
	t.Parallel()
	s := redistest.StartCluster(t, 1)
	for params, want := range map[string]string{
		"?wait=1": "where wait and waitaof cannot be kept",
		"?db=3":   "a cluster has database 0 only",
	} {
		_, err := Open(t.Context(), s.URL()+params, nil)
		refused(t, params, err, want)
	}
}

// A server that is not there, or does not answer, is waited for as long as the URL and
// the context say.
func TestOpenUnreachable(t *testing.T) {
	t.Parallel()
	frozen := redistest.Start(t)
	frozen.Freeze()
	defer frozen.Thaw()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	for name, url := range map[string]string{"closed": "redis://" + closed, "frozen": frozen.URL()} {
		_, err := Open(t.Context(), url+"?dial_timeout=200ms", nil)
		if err == nil || !strings.HasPrefix(err.Error(), "deedredis: connect to 127.0.0.1:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, cause)
	defer cancel()
	if _, err := Open(ctx, frozen.URL()+"?dial_timeout=1h", nil); !errors.Is(err, cause) {
		t.Errorf("a context that ends: %v", err)
	}
}
