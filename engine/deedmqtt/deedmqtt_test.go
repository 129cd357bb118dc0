package deedmqtt

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/listentest"
	"github.com/deedgo/deed/internal/mqtttest"
	"github.com/deedgo/deed/internal/testserver"
)

func open(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func publish(c *Conn, topic string, ids ...string) error {
	ms := make([]driver.Message, len(ids))
	for i, id := range ids {
		ms[i] = driver.Message{ID: id, Source: "/s", Type: "t", Version: 1, Data: []byte(`{"n":1}`)}
	}
	rs, err := c.Publish(context.Background(), []driver.Batch{{Topic: topic, Messages: ms}})
	if err == nil {
		err = rs[0].Err
	}
	return err
}

// eachVersion runs a test by either version of the protocol.
func eachVersion(t *testing.T, test func(t *testing.T, query string)) {
	t.Parallel()
	for _, version := range []string{version5, version311} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, "?version="+version)
		})
	}
}

func TestAListenerOfABrokerThatWasAwayListensAgainAndSaysSo(t *testing.T) {
	eachVersion(t, testBrokerAway)
}

func testBrokerAway(t *testing.T, query string) {
	s := mqtttest.Start(t)
	c := open(t, s.URL()+query)
	h := listentest.Listen(t, c, "sensors.*")
	h.Until("the claim", func() bool { return true })
	if err := publish(c, "sensors.hall", "before"); err != nil {
		t.Fatal(err)
	}
	h.Until("before", func() bool { return len(h.Got) == 1 })
	s.Kill()
	if err := publish(c, "sensors.hall", "lost"); err == nil || !errors.Is(err, driver.ErrAway) {
		t.Errorf("a broker that is down accepts events: %v", err)
	}
	h.Until("deaf", func() bool { return len(h.Missed) > 0 && h.Missed[0].Deaf != nil })
	s.Restart()
	h.Until("back", func() bool { return h.Missed[len(h.Missed)-1].Back > 0 })
	if err := publish(c, "sensors.hall", "after"); err != nil {
		t.Fatal(err)
	}
	h.Until("after", func() bool { return len(h.Got) == 2 })
	if !slices.Equal(h.IDs(), []string{"before", "after"}) || h.Got[1].Topic != "sensors.hall" {
		t.Errorf("heard %v", h.Got)
	}
}

// A flow that is larger than what a broker lets be on its way arrives whole, in order.
func TestManyAtOnce(t *testing.T) { eachVersion(t, testManyAtOnce) }

func testManyAtOnce(t *testing.T, query string) {
	c := open(t, mqtttest.Start(t, "max_inflight_messages 7").URL()+query)
	h := listentest.Listen(t, c, "t")
	var ids []string
	for i := range 2000 {
		ids = append(ids, strconv.Itoa(i))
	}
	if err := publish(c, "t", ids...); err != nil {
		t.Fatal(err)
	}
	h.Until("all", func() bool { return len(h.Got) >= len(ids) })
	if !slices.Equal(h.IDs(), ids) {
		t.Error("they do not come in order")
	}
}

// Other programs read what deed publishes: attributes as user properties.
func TestAnotherClientReadsEvents(t *testing.T) {
	t.Parallel()
	s := mqtttest.Start(t)
	c := open(t, s.URL())
	sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port()),
		"-V", "5", "-t", "sensors/#", "-q", "1", "-F", "%t|%P|%C|%p")
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Process.Kill(); sub.Wait() })
	lines := make(chan string)
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			select {
			case lines <- in.Text():
			case <-t.Context().Done():
				return
			}
		}
	}()
	m := driver.Message{
		ID: "1", Source: "/s", Type: "measured", Version: 2, Key: "hall", ContentType: "text/plain",
		Attributes: map[string]string{"subject": "x"}, Data: []byte("warm"),
	}
	for deadline := time.After(time.Minute); ; {
		b := driver.Batch{Topic: "sensors.hall", Messages: []driver.Message{m}}
		if _, err := c.Publish(t.Context(), []driver.Batch{b}); err != nil {
			t.Fatal(err)
		}
		select {
		case line := <-lines:
			for _, want := range []string{
				"sensors/hall|", "specversion:1.0", "id:1", "source:/s", "type:measured", "typeversion:2", "partitionkey:hall",
				"subject:x", "|text/plain|", "|warm",
			} {
				if !strings.Contains(line, want) {
					t.Errorf("read %q, want %q in it", line, want)
				}
			}
			return
		case <-time.After(200 * time.Millisecond): // it does not listen yet
		case <-deadline:
			t.Fatal("nothing is read")
		}
	}
}

func TestUsersAndCertificates(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(testserver.Home(t), "passwords")
	if err := os.WriteFile(passwords, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mosquitto_passwd", "-b", passwords, "device", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v %s", err, out)
	}
	if err := os.Chmod(passwords, 0o644); err != nil {
		t.Fatal(err)
	}
	s, files := mqtttest.StartTLS(t, "allow_anonymous false", "password_file "+passwords)
	at := s.Addr()
	c := open(t, "mqtts://device:s3cret@"+at+"?ca="+files.CAFile)
	h := listentest.Listen(t, c, "t")
	if err := publish(c, "t", "1"); err != nil {
		t.Fatal(err)
	}
	h.Until("the event", func() bool { return len(h.Got) == 1 })
	for url, want := range map[string]string{
		"mqtts://device:s3cret@" + at:                                                   "not trusted",
		"mqtts://device:wr0ng@" + at + "?ca=" + files.CAFile:                            "",
		"mqtts://device:wr0ng@" + at + "?version=3.1.1&ca=" + files.CAFile:              "not authorized",
		"mqtts://" + at + "?skip_verify=1":                                              "",
		"mqtt://device:s3cret@" + at:                                                    "",
		"mqtts://device:s3cret@" + at + "?ca=" + files.CAFile + "&cert=/none&key=/none": "cert and key",
	} {
		_, err := Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v, want something about %q", url, err, want)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"mqtt://u:secret@h:%zz":           "cannot be read",
		"mqtt:h":                          "cannot be read",
		"http://h":                        "mqtt or mqtts",
		"mqtt://":                         "no host",
		"mqtt://h/topic":                  "prefix=NAME",
		"mqtt://h?prefixes=a":             "want buffer_bytes, buffer_events, ca,",
		"mqtt://h?prefix=a/%2B":           "without + and #",
		"mqtt://h?prefix=$SYS":            "without + and #",
		"mqtt://h?buffer_events=0":        "from 1",
		"mqtt://h?buffer_bytes=x":         "from 1",
		"mqtt://h?keep_alive=5ms":         "1s to 18h",
		"mqtt://u:secret@h?ca=/dev/null":  "mqtts",
		"mqtts://u:secret@h?ca=/dev/null": "no certificate",
		"mqtts://h?skip_verify=perhaps":   "true or false",
		"mqtt://h?version=4":              "want 5 or 3.1.1",
		"mqtt://h?prefix=a":               "in front of them",
	} {
		if err := CheckURL(url); !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want something about %q", url, err, want)
		}
	}
	for url, want := range map[string]string{
		"mqtt://h":                   "h:1883 a/b # a/#",
		"mqtts://h:1?prefix=x/y/":    "h:1 x/y/a/b x/y/# x/y/a/#",
		"mqtt://[::1]?keep_alive=1m": "[::1]:1883 a/b # a/#",
	} {
		s, err := parseURL(url)
		got := strings.Join([]string{s.addr, s.topic("a.b"), s.filter("a*"), s.filter("a.*c.d")}, " ")
		if err != nil || got != want || s.name(s.topic("a.b")) != "a.b" {
			t.Errorf("%s: %q, %v, want %q", url, got, err, want)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for filter, good := range map[string]bool{
		"a": true, "#": true, "a/#": true, "+/b/+": true, "/": true, "": false, "a#": false, "a/#/b": false, "a+/b": false,
		"a\x00": false,
	} {
		if err := CheckFilter(filter); (err == nil) != good {
			t.Errorf("%q: %v", filter, err)
		}
	}
}

func TestAPortThatSpeaksSomethingElse(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"mqtt://127.0.0.1:1", "mqtt://127.0.0.1:9"} {
		if _, err := Open(t.Context(), url); !errors.Is(err, driver.ErrAway) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
