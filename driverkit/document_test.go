package driverkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/deedgo/deed/driver"
)

func TestADocumentComesBackAsTheMessageThatItWas(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []driver.Message{
		{ID: "1", Source: "/s", Type: "t", Version: 1, Data: []byte(`{"a": 1}`), Time: at, Key: "k"},
		{ID: "2", Source: "/s", Type: "t", Version: 3, ContentType: "text/plain", Data: []byte("a \"b\"\n"),
			Attributes: map[string]string{"subject": "x", "empty": ""}},
		{ID: "3", Source: "/s", Type: "t", Version: 1, ContentType: "application/vnd.x+json", Data: []byte(` 1`)},
		{ID: "4", Source: "/s", Type: "t", Version: 1, ContentType: "image/png", Data: []byte{0, 1, 255}},
		{ID: "5", Source: "/s", Type: "t", Version: 1, Data: []byte("null")},
		{ID: "6", Source: "/s", Type: "t", Version: 1},
	} {
		text := string(AppendDocument(nil, &m))
		var doc map[string]any
		if err := json.Unmarshal([]byte(text), &doc); err != nil || doc["specversion"] != "1.0" || doc["id"] != m.ID {
			t.Errorf("%s: %v", text, err)
		}
		var back driver.Message
		if err := ReadDocument(text, &back); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if back.ID != m.ID || back.Type != m.Type || back.ContentType != m.ContentType || back.Version != m.Version ||
			!back.Time.Equal(m.Time) || !bytes.Equal(back.Data, m.Data) || !maps.Equal(back.Attributes, m.Attributes) {
			t.Errorf("%s\ncame back as %+v\nwant %+v", text, back, m)
		}
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{}}`)
	f.Add(`{"specversion":null}`)
	f.Add(`{"specversion":"1.0","data_base64":"AA","typeversion":1e3}`)
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","typeversion":2,"empty":"","data_base64":"AAE="}`)
	f.Add(`{"specversion":"1.0","id":"1","datacontenttype":"text/plain","data":"a"}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, payload string) {
		d := driver.Delivery{Position: "1"}
		Complete(&d, "engine", "topic", payload, ReadDocument(payload, &d.Message))
		m := d.Message
		if m.ID == "" || m.Source == "" || m.Type == "" {
			t.Errorf("%q came as %+v", payload, m)
		}
		var members map[string]json.RawMessage
		if !scanDocument(payload, &m) || !utf8.ValidString(payload) || json.Unmarshal([]byte(payload), &members) != nil {
			return
		}
		var slow driver.Message
		if err := readDocument(members, &slow); err != nil || fmt.Sprint(m) != fmt.Sprint(slow) {
			t.Errorf("%q is %+v at a glance, and %+v, %v", payload, m, slow, err)
		}
	})
}
