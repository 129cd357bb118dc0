package deedkafka_test

import (
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedkafka"
	"github.com/deedgo/deed/internal/kafkatest"
)

// browse returns the events of a partition.
func browse(t *testing.T, c *deedkafka.Conn, topic string) []driver.Delivery {
	t.Helper()
	ds, err := c.Browse(t.Context(), driver.Page{Topic: topic, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// kcat, on librdkafka, reads what deed writes, with the headers of CloudEvents.
func TestKcatReads(t *testing.T) {
	s := kafkatest.Start(t)
	c := open(t, s.URL())
	info := topicOf(t, c, "orders", 1)
	m := event(7)
	m.ContentType, m.Attributes = "application/json", map[string]string{"subject": "o/7"}
	rs, err := c.Publish(t.Context(), one(info, m))
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	out := string(s.Kcat(t, nil, "-C", "-t", "orders", "-e", "-q", "-f", "%k|%s|%h\n"))
	for _, want := range []string{
		`k|{"n":7}|`, "ce_specversion=1.0", "ce_id=7", "ce_source=/test", "ce_type=orders.created", "ce_subject=o/7",
		"content-type=application/json",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("kcat prints %q, which lacks %q", out, want)
		}
	}
}

// What kcat writes, deed reads: as CloudEvents in both modes, and what is none.
func TestKcatWrites(t *testing.T) {
	s := kafkatest.Start(t)
	c := open(t, s.URL())
	topicOf(t, c, "quakes", 1)
	// [kcat]
	s.Kcat(t, []byte("de:{\"mag\":5}"), "-P", "-t", "quakes", "-p", "0", "-K:",
		"-H", "ce_specversion=1.0", "-H", "ce_id=q1", "-H", "ce_source=/usgs", "-H", "ce_type=quake",
		"-H", "ce_time=2024-05-06T07:08:09Z")
	// [kcat]
	s.Kcat(t, []byte(`{"specversion":"1.0","id":"q2","source":"/usgs","type":"quake","partitionkey":"fr",`+
		`"data":{"mag":6}}`),
		"-P", "-t", "quakes", "-p", "0", "-H", "content-type=application/cloudevents+json; charset=UTF-8")
	s.Kcat(t, []byte("no event at all"), "-P", "-t", "quakes", "-p", "0")
	s.Kcat(t, []byte("x"), "-P", "-t", "quakes", "-p", "0", "-H", "ce_id=q4", "-H", "ce_time=noon")
	ds := browse(t, c, "quakes")
	if len(ds) != 4 {
		t.Fatalf("%d events, want 4", len(ds))
	}
	for i, want := range []driver.Message{
		{ID: "q1", Source: "/usgs", Type: "quake", Key: "de", Data: []byte(`{"mag":5}`)},
		{ID: "q2", Source: "/usgs", Type: "quake", Key: "fr", Data: []byte(`{"mag":6}`)},
		{ID: "0-2", Source: "/kafka/quakes", Type: "quakes", Data: []byte("no event at all")},
	} {
		if d := ds[i]; d.ID != want.ID || d.Source != want.Source || d.Type != want.Type || d.Key != want.Key ||
			string(d.Data) != string(want.Data) || d.Unreadable != "" {
			t.Errorf("event %d is %+v with data %s, want %+v", i, d.Message, d.Data, want)
		}
	}
	if !strings.Contains(ds[3].Unreadable, "noon") || ds[3].ID != "q4" {
		t.Errorf("the last one is %q: unreadable %q, want it to name its time", ds[3].ID, ds[3].Unreadable)
	}
}

// The header of the Confluent wire format is taken off, and put on where the URL says so.
func TestWireFormat(t *testing.T) {
	s := kafkatest.Start(t)
	plain, wire := open(t, s.URL()), open(t, s.URL()+"?schema_id=57")
	info := topicOf(t, plain, "orders", 1)
	rs, err := wire.Publish(t.Context(), one(info, event(1)))
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	if d := browse(t, wire, "orders")[0]; string(d.Data) != `{"n":1}` || len(d.Attributes) > 0 {
		t.Errorf("its own data comes back as %q, attributes %v", d.Data, d.Attributes)
	}
	if d := browse(t, plain, "orders")[0]; string(d.Data) != `{"n":1}` || d.Attributes["schemaid"] != "57" {
		t.Errorf("another connection reads %q, attributes %v; want the data, and schema 57", d.Data, d.Attributes)
	}
	raw := s.Kcat(t, nil, "-C", "-t", "orders", "-e", "-q", "-f", "%s")
	if string(raw) != "\x00\x00\x00\x00\x39{\"n\":1}" {
		t.Errorf("on the wire it is %q", raw)
	}
}
