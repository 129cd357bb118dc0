package deedredis

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

func TestURL(t *testing.T) {
	s, err := parseURL("redis://user:p%40ss@host:7000/3?client_name=shop&dial_timeout=1s&write_timeout=20s&prefix=shop" +
		"&wait=2&waitaof=1&wait_timeout=3s&addr=other:7001&addr=third:7002")
	if err != nil {
		t.Fatal(err)
	}
	o := s.client
	if got := strings.Join(o.InitAddress, " "); got != "host:7000 other:7001 third:7002" {
		t.Errorf("addresses: %s", got)
	}
	if o.Username != "user" || o.Password != "p@ss" || o.SelectDB != 3 || o.ClientName != "shop" || o.TLSConfig != nil ||
		o.Dialer.Timeout != time.Second || o.ConnWriteTimeout != 20*time.Second {
		t.Errorf("client: %+v", o)
	}
	if s.prefix != "shop" || s.replicas != 2 || !s.synced || s.patience != 3*time.Second {
		t.Errorf("settings: %+v", s)
	}
	s, err = parseURL("rediss://host?master_set=m&sentinel_user=u&sentinel_password=p&skip_verify=true")
	if err != nil {
		t.Fatal(err)
	}
	if o = s.client; o.TLSConfig == nil || !o.TLSConfig.InsecureSkipVerify || o.Sentinel.TLSConfig == nil ||
		o.Sentinel.MasterSet != "m" || o.Sentinel.Username != "u" || o.Sentinel.Password != "p" ||
		o.Dialer.Timeout != defaultDial || o.ConnWriteTimeout != defaultWrite {
		t.Errorf("sentinel: %+v", o)
	}
}

func TestGuideExplainsParameters(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "redis.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range parameters {
		if !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("docs/guides/redis.md does not explain the parameter %s", name)
		}
	}
}

// Each mistake is told in one line, which says what was wrong and holds no password.
func TestURLMistakes(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const host = "redis://user:geheim@localhost:6379"
	const tlsHost = "rediss://user:geheim@localhost:6379"
	for _, c := range []struct{ url, want string }{
		{"redis://user:geh%eim@localhost", "cannot be read (want redis://USER:PASSWORD@HOST:PORT/DB, special "},
		{"redis://user:geheim#@localhost", "cannot be read"},
		{"redis://user:geheim/@localhost", "cannot be read"},
		{"redis:user:geheim@localhost", "cannot be read"},
		{host + "?prefix=%zz", "its parameters cannot be read"},
		{host + "/orders", `invalid database number: "orders"`},
		{host + "/1/2", "invalid URL path: /1/2"},
		{host + "/-1", "db is -1 (want 0 or more)"},
		{host + "?db=x", `invalid database number: "x"`},
		{host + "?dialtimeout=1s", `unknown parameter "dialtimeout" (want addr, master_set, `},
		{host + "?prefix=a&prefix=b", "prefix is given 2 times (want once)"},
		{host + "?prefix=", `prefix is "" (want a name without braces)`},
		{host + "?prefix={a}", `prefix is "{a}" (want a name without braces)`},
		{host + "?addr=other", `addr is "other" (want HOST:PORT)`},
		{host + "?addr=:7000", `addr is ":7000" (want HOST:PORT)`},
		{host + "?dial_timeout=5", `invalid dial timeout: "5"`},
		{host + "?dial_timeout=-5s", `dial_timeout is "-5s" (want a time such as 2s)`},
		{host + "?write_timeout=0s", `write_timeout is "0s" (want a time such as 2s)`},
		{host + "?wait=-1", `wait is "-1" (want a number of replicas)`},
		{host + "?wait=all", `wait is "all" (want a number of replicas)`},
		{host + "?waitaof=2", `waitaof is "2" (want 0 or 1)`},
		{host + "?wait_timeout=soon", `wait_timeout is "soon" (want a time such as 2s)`},
		{host + "?wait=1&wait_timeout=10s", "wait_timeout is 10s, write_timeout is 10s (want less than that)"},
		{host + "?sentinel_user=u", "sentinel_user means nothing without master_set"},
		{host + "?ca=ca.crt", "ca wants TLS (rediss://)"},
		{host + "?skip_verify=true", "skip_verify wants TLS (rediss://)"},
		{tlsHost + "?skip_verify=perhaps", `invalid skip verify: "perhaps"`},
		{tlsHost + "?ca=/nowhere/ca.crt", "ca: open /nowhere/ca.crt: no such file"},
		{tlsHost + "?ca=" + empty, "ca: " + empty + " holds no certificate"},
		{tlsHost + "?cert=a.crt", "cert means nothing without key"},
		{tlsHost + "?key=a.key", "key means nothing without cert"},
		{tlsHost + "?cert=" + empty + "&key=" + empty, "cert and key: "},
		{host + "?socket=redis.sock", `socket is "redis.sock" (want a path that begins with /)`},
		{tlsHost + "?socket=/run/redis.sock", "socket is for one server without TLS"},
		{host + "?socket=/run/redis.sock&master_set=m", "socket is for one server without TLS"},
	} {
		_, err := Open(t.Context(), c.url, nil)
		if !errors.Is(err, driver.ErrRefused) {
			t.Errorf("%s: %v (want a refusal)", c.url, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, "url: "+c.want) || strings.Contains(text, "geheim") || strings.Contains(text, "\n") {
			t.Errorf("%s: %s (want %q)", c.url, text, c.want)
		}
	}
}
