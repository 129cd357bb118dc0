package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/engine/deedmqtt"
	"github.com/deedgo/deed/engine/deedredis"
)

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	for url, want := range map[string]string{
		"mem:": "mem", "mem:name": "mem", "mem+pubsub:": "mem+pubsub", "sqlite:" + file: "sqlite",
	} {
		b, err := engine.Open(t.Context(), url, nil)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := b.Features().Engine; got != want {
			t.Errorf("%s opens %s (want %s)", url, got, want)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: close: %v", url, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"", "orders.db", "nosuch:x", "kafka2://user:secret@host"} {
		b, err := engine.Open(t.Context(), url, nil)
		if !errors.Is(err, engine.ErrURL) || b != nil {
			t.Errorf("%q: %v, %v (want ErrURL)", url, b, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, "rediss+pubsub: or sqlite:") || strings.Contains(text, "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	// A promise that the engine does not keep closes it again.
	if _, err := engine.Open(t.Context(), "mem:", &deed.Options{Durability: deed.Power}); err == nil {
		t.Error("memory is opened as if it survived a power failure")
	}
}

func TestNoCreate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.db")
	_, err := engine.Open(t.Context(), "sqlite:"+file, &deed.Options{NoCreate: true})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening an absent file: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file was created")
	}
}

// The table says before an engine is opened what the engine says of itself.
func TestEphemeral(t *testing.T) {
	for url, conn := range map[string]driver.Conn{
		"redis+pubsub://h": &deedredis.PubSub{}, "rediss+pubsub://h": &deedredis.PubSub{}, "mqtt://h": &deedmqtt.Conn{},
		"mqtts://h": &deedmqtt.Conn{}, "mem+pubsub:": nil, "mem:": nil, "sqlite:" + t.TempDir() + "/a.db": nil,
	} {
		if conn == nil {
			var err error
			if conn, err = engine.OpenConn(t.Context(), url, nil); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		if got, want := engine.Ephemeral(url), conn.Features().Ephemeral; got != want {
			t.Errorf("%s: %v, its engine says %v", url, got, want)
		}
	}
}
