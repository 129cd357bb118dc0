package deedredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/listentest"
	"github.com/deedgo/deed/internal/redistest"
)

// airURL turns a server's URL into the ephemeral engine's.
func airURL(url, query string) string {
	return strings.Replace(url, "redis://", "redis+pubsub://", 1) + query
}

func airHarness(url string) drivertest.Harness {
	return drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) { return OpenPubSub(ctx, url) }}
}

func TestPubSubConformance(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for name, query := range map[string]string{"channels": "", "sharded": "?sharded=1", "bare": "?prefix="} {
		t.Run(name, func(t *testing.T) { drivertest.Test(t, airHarness(airURL(s.URL(), query))) })
	}
}

func TestPubSubConformanceOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3)
	for name, query := range map[string]string{"channels": "", "sharded": "?sharded=1"} {
		t.Run(name, func(t *testing.T) {
			url := c.URL()
			sep := "?"
			if strings.Contains(url, "?") {
				sep = "&"
			}
			drivertest.Test(t, airHarness(airURL(url, strings.Replace(query, "?", sep, 1))))
		})
	}
}

// openAir opens the engine for a test.
func openAir(t *testing.T, url string) *PubSub {
	t.Helper()
	c, err := OpenPubSub(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOtherProgramsPublishAndSubscribe(t *testing.T) {
	s := redistest.Start(t)
	c := openAir(t, airURL(s.URL(), ""))
	h := listentest.Listen(t, c, "sensors.*")
	for _, payload := range []string{
		`21.5`, `{"celsius":21.5}`, `warm`, "\xff\x00", ``,
		`{"specversion":"1.0","id":"1","source":"/plc","type":"sensors.reading","partitionkey":"hall","typeversion":2,` +
			`"data":{"c":1}}`,
		`{"specversion":"1.0","type":"sensors.note","datacontenttype":"text/plain","data":"hot"}`,
		`{"specversion":"0.3","id":"1","source":"/plc","type":"old"}`,
		`{"specversion":"1.0","id":{},"source":"/plc","type":"bad"}`,
	} {
		if _, err := s.Command("PUBLISH", "deed:topic:sensors.hall", payload); err != nil {
			t.Fatal(err)
		}
	}
	h.Until("nine events", func() bool { return len(h.Got) == 9 })
	for i, want := range []driver.Message{
		{Type: "sensors.hall", Data: []byte("21.5")},
		{Type: "sensors.hall", Data: []byte(`{"celsius":21.5}`)},
		{Type: "sensors.hall", ContentType: "text/plain; charset=utf-8", Data: []byte("warm")},
		{Type: "sensors.hall", ContentType: "application/octet-stream", Data: []byte("\xff\x00")},
		{Type: "sensors.hall", ContentType: "text/plain; charset=utf-8"},
		{ID: "1", Source: "/plc", Type: "sensors.reading", Key: "hall", Version: 2, Data: []byte(`{"c":1}`)},
		{Type: "sensors.note", ContentType: "text/plain", Data: []byte("hot")},
		{Type: engineName + ".unreadable",
			Data: []byte(`{"specversion":"0.3","id":"1","source":"/plc","type":"old"}`)},
		{Type: engineName + ".unreadable",
			Data: []byte(`{"specversion":"1.0","id":{},"source":"/plc","type":"bad"}`)},
	} {
		d := h.Got[i]
		if want.Source == "" {
			want.Source = "/redis/sensors.hall"
		}
		want.Version = max(want.Version, 1)
		if d.Type != want.Type || d.Source != want.Source || d.ContentType != want.ContentType || d.Key != want.Key ||
			d.Version != want.Version || !bytes.Equal(d.Data, want.Data) || d.ID == "" || want.ID != "" && d.ID != want.ID {
			t.Errorf("message %d came as %+v\nwant %+v", i, d.Message, want)
		}
		if unreadable := want.Type == engineName+".unreadable"; (d.Unreadable != "") != unreadable {
			t.Errorf("message %d is unreadable: %q", i, d.Unreadable)
		}
		if d.Topic != "sensors.hall" {
			t.Errorf("message %d is of topic %q", i, d.Topic)
		}
	}
	if h.Got[0].ID == h.Got[1].ID {
		t.Error("two messages have one id")
	}
}

func TestAListenerThatIsCutOffListensAgainAndSaysSo(t *testing.T) {
	s := redistest.Start(t)
	c := openAir(t, airURL(s.URL(), ""))
	h := listentest.Listen(t, c, "sensors.*")
	h.Until("the claim", func() bool { return true })
	publish := func(id string) error {
		ms := []driver.Message{{ID: id, Source: "/s", Type: "t", Version: 1}}
		rs, err := c.Publish(t.Context(), []driver.Batch{{Topic: "sensors.hall", Messages: ms}})
		if err == nil {
			err = rs[0].Err
		}
		return err
	}
	if err := publish("before"); err != nil {
		t.Fatal(err)
	}
	h.Until("before", func() bool { return len(h.Got) == 1 })
	if _, err := s.Command("CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
		t.Fatal(err)
	}
	h.Until("back", func() bool { return len(h.Missed) > 0 && h.Missed[len(h.Missed)-1].Back > 0 })
	deaf := 0
	for _, m := range h.Missed {
		if m.Deaf != nil {
			deaf++
		}
	}
	if deaf != 1 {
		t.Errorf("it was cut off once and says so %d times: %v", deaf, h.Missed)
	}
	if err := publish("after"); err != nil {
		t.Fatal(err)
	}
	h.Until("after", func() bool { return len(h.Got) == 2 })
	if h.Got[0].ID != "before" || h.Got[1].ID != "after" {
		t.Errorf("heard %v", h.Got)
	}
}

func TestPublishingWhileTheServerIsDown(t *testing.T) {
	s := redistest.Start(t)
	c := openAir(t, airURL(s.URL(), ""))
	h := listentest.Listen(t, c, "t")
	s.Kill()
	m := []driver.Message{{ID: "1", Source: "/s", Type: "t", Version: 1}}
	_, err := c.Publish(t.Context(), []driver.Batch{{Topic: "t", Messages: m}})
	if err == nil {
		rs, _ := c.Publish(t.Context(), []driver.Batch{{Topic: "t", Messages: m}})
		err = rs[0].Err
	}
	if err == nil {
		t.Error("a server that is down accepts events")
	}
	h.Until("deaf", func() bool { return len(h.Missed) > 0 && h.Missed[0].Deaf != nil })
	s.Restart()
	h.Until("back", func() bool { return h.Missed[len(h.Missed)-1].Back > 0 })
}

func TestPubSubURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis+pubsub://h/3":                      "prefix=NAME",
		"redis+pubsub://h?db=3":                   "prefix=NAME",
		"redis+pubsub://h?wait=1":                 "nothing is stored",
		"redis+pubsub://h?shard=1":                `"shard" (want addr, buffer_bytes, buffer_events, ca,`,
		"redis+pubsub://h?sharded=perhaps":        "true or false",
		"redis+pubsub://h?buffer_events=0":        "from 1",
		"redis+pubsub://h?buffer_bytes=x":         "number",
		"redis+pubsub://u:secret@h?ca=/dev/null":  "rediss",
		"redis+pubsub://u:secret@h:%zz":           "cannot be read",
		"redis+pubsub://u:secret@h?prefix=a&db=1": "no database",
	} {
		_, err := parsePubSubURL(url)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v\nwant something about %q", url, err, want)
		}
	}
	for url, want := range map[string]string{
		"redis+pubsub://h":                       "deed:topic:t deed:topic:a* 4096 false",
		"redis+pubsub://h/0?prefix=&sharded=1":   "t a* 4096 true",
		"rediss+pubsub://h?prefix=sh%5Bo%5Dp%2A": `sh[o]p*:topic:t sh\[o\]p\*:topic:a* 4096 false`,
		"redis+pubsub://h?buffer_events=7":       "deed:topic:t deed:topic:a* 7 false",
	} {
		s, err := parsePubSubURL(url)
		got := fmt.Sprint(s.channel("t"), " ", s.glob("a*"), " ", s.room.Events, " ", s.sharded)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", url, got, err, want)
		}
	}
}

// announcer are the rights that docs/guides/pubsub.md names.
const announcer = "announcer on >secret resetkeys resetchannels &deed:topic:* &deed:topic:sensors.* -@all " +
	"+hello +info +ping +publish +spublish +subscribe +psubscribe +ssubscribe +cluster|slots " +
	"+cluster|shards"

func TestRightsOfAUser(t *testing.T) {
	s := redistest.Start(t)
	if _, err := s.Command(append([]string{"ACL", "SETUSER"}, strings.Fields(announcer)...)...); err != nil {
		t.Fatal(err)
	}
	c := openAir(t, strings.Replace(s.URL(), "redis://", "redis+pubsub://announcer:secret@", 1))
	one, many := listentest.Listen(t, c, "sensors.hall"), listentest.Listen(t, c, "sensors.*")
	ms := []driver.Message{{ID: "1", Source: "/s", Type: "t", Version: 1}}
	rs, err := c.Publish(t.Context(), []driver.Batch{{Topic: "sensors.hall", Messages: ms}})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	for _, h := range []*listentest.Listener{one, many} {
		h.Until("the event", func() bool { return len(h.Got) == 1 })
	}
	// A pattern is allowed by its own text only; Redis does not look at what it matches.
	_, err = c.SubscribePattern(t.Context(), driver.SubscribeSpec{Topic: "orders.*", Group: "test"})
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "orders.*") {
		t.Errorf("a pattern that the user may not listen to: %v", err)
	}
}

func TestAReplicaIsRefused(t *testing.T) {
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	_, err := OpenPubSub(t.Context(), airURL(replica.URL(), ""))
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "replica") {
		t.Errorf("opening a replica: %v", err)
	}
}

func TestListeningOverTLS(t *testing.T) {
	s, files := redistest.StartTLS(t)
	c := openAir(t, strings.Replace(s.URL(), "rediss://", "rediss+pubsub://", 1)+"?ca="+files.CAFile)
	h := listentest.Listen(t, c, "t")
	ms := []driver.Message{{ID: "1", Source: "/s", Type: "t", Version: 1}}
	if _, err := c.Publish(t.Context(), []driver.Batch{{Topic: "t", Messages: ms}}); err != nil {
		t.Fatal(err)
	}
	h.Until("the event", func() bool { return len(h.Got) == 1 })
}
