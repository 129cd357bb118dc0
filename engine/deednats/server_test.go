package deednats

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/natstest"
)

func open(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func messages(first, n int) (ms []driver.Message) {
	for i := range n {
		ms = append(ms, driver.Message{
			ID: fmt.Sprint(first + i), Source: "/test", Type: "tested", Version: 1, Data: []byte("data"),
		})
	}
	return ms
}

// publish appends to partition 0 and returns what became of it.
func publish(t *testing.T, c *Conn, b driver.Batch) driver.Receipt {
	t.Helper()
	rs, err := c.Publish(t.Context(), []driver.Batch{b})
	if err != nil {
		return driver.Receipt{Err: err}
	}
	return rs[0]
}

func TestDurabilityIsTheServers(t *testing.T) {
	t.Parallel()
	usual, synced := natstest.Start(t), natstest.Start(t, "sync_interval: always")
	for _, x := range []struct {
		url  string
		want driver.Class
		says string
	}{
		{usual.URL(), driver.Process, "monitor="},
		{usual.URL() + "?monitor=" + usual.MonitorURL(), driver.Process, "set it to always"},
		{synced.URL(), driver.Process, "monitor="},
		{synced.URL() + "?monitor=" + synced.MonitorURL(), driver.Power, "replicas=3"},
	} {
		f := open(t, x.url).Features()
		if f.Durability != x.want || !strings.Contains(f.Setting, x.says) {
			t.Errorf("%s keeps %v, %q; want %v and a word about %s", x.url, f.Durability, f.Setting, x.want, x.says)
		}
	}
	_, err := Open(t.Context(), usual.URL()+"?monitor=http://127.0.0.1:1", nil)
	if !errors.Is(err, driver.ErrRefused) {
		t.Errorf("a monitor that is not there: %v, want a refusal", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	locked := natstest.StartWith(t, []string{`authorization { user: "a", password: "secret" }`},
		nats.UserInfo("a", "secret"))
	open(t, strings.Replace(locked.URL(), "//", "//a:secret@", 1))
	plain := natstest.Start(t)
	for url, says := range map[string]string{
		locked.URL(): "does not let this user in",
		strings.Replace(locked.URL(), "//", "//a:wrong@", 1): "does not let this user in",
		plain.URL() + "?tls=1":                               "TLS",
		plain.URL() + "?nosuch=1":                            "unknown parameter",
		plain.URL() + "?replicas=3":                          "too few servers",
		plain.URL() + "?prefix=a.b":                          "prefix is",
		plain.URL() + "?replicas=2":                          "want 1, 3 or 5",
		plain.URL() + "?creds=/no/such":                      "creds",
		plain.URL() + "?timeout=soon":                        "want a time",
		plain.URL() + "?cert=/no/such":                       "cert and key",
		plain.URL() + "?ca=/no/such/a.pem":                   "ca",
		"nats:orders":                                        "cannot be read",
	} {
		c, err := Open(t.Context(), url, nil)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), says) ||
			strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%s: %v; want a refusal with %q, and no password", url, err, says)
		}
	}
	_, err := Open(t.Context(), "nats://127.0.0.1:1", nil)
	if !errors.Is(err, driver.ErrAway) {
		t.Errorf("a server that is not there: %v, want it to be away", err)
	}
}

func TestDriftIsRefused(t *testing.T) {
	t.Parallel()
	c := open(t, natstest.Start(t).URL())
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := driver.Batch{Topic: "orders", Generation: info.Generation, Messages: messages(1, 1)}
	if r := publish(t, c, b); r.Err != nil {
		t.Fatal(r.Err)
	}
	s, err := c.js.Stream(t.Context(), c.names.log("orders"))
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*jetstream.StreamConfig){
		func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour },
		func(s *jetstream.StreamConfig) { s.MaxMsgs = 10 },
		func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 10 },
	} {
		config := s.CachedInfo().Config
		change(&config)
		if _, err := c.js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Topic(t.Context(), "orders"); !errors.Is(err, driver.ErrRefused) {
			t.Errorf("a topic whose stream was changed: %v, want a refusal", err)
		}
		if err := publish(t, open(t, "nats://"+c.nc.ConnectedAddr()), b).Err; !errors.Is(err, driver.ErrRefused) {
			t.Errorf("publishing to it: %v, want a refusal", err)
		}
		all, err := c.Topics(t.Context())
		if err != nil || len(all) != 1 || !strings.Contains(all[0].Damage, "somebody has changed") {
			t.Errorf("the topics are %+v, %v; want one that is damaged", all, err)
		}
		if _, err := c.js.UpdateStream(t.Context(), s.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	findings, err := Examine(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]driver.Finding)
	for _, f := range findings {
		got[f.What] = f
	}
	if got["server"].Result != driver.Good || got["topic orders"].Result != driver.Good ||
		got["durability"].Result != driver.Noted || !strings.Contains(got["durability"].Advice, "sync_interval") {
		t.Errorf("found %+v", findings)
	}
}

func TestNoCreateMakesNothing(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c, err := Open(t.Context(), s.URL(), &Options{NoCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if all, err := c.Topics(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("the topics are %v, %v; want none", all, err)
	}
	if _, err := c.Record(t.Context(), "r"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a record: %v, want none", err)
	}
	if all, err := c.Records(t.Context(), "", "", 10); err != nil || len(all) > 0 {
		t.Errorf("the records are %v, %v; want none", all, err)
	}
	if all, err := c.Groups(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("the groups are %v, %v; want none", all, err)
	}
	for name := range c.js.StreamNames(t.Context()).Name() {
		t.Errorf("it made the stream %s", name)
	}
	if _, err := c.PutRecord(t.Context(), driver.Record{Name: "r", Data: []byte("1")}); err != nil {
		t.Errorf("put a record: %v", err)
	}
}
