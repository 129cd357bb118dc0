package drivertest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

var acceptedChecks = []Check{
	{
		Name:    "every-field",
		Promise: "An accepted event comes back with every field as it was.",
		Why:     "An attribute lost on the way is lost for every consumer, and nobody notices.",
		Needs:   needs(groups),
		Run:     checkEveryField,
	},
	{
		Name:    "large-event",
		Promise: "A large event comes back whole; one above the engine's limit is refused.",
		Why:     "A size that is accepted and then cut or stuck blocks its partition for good.",
		Needs:   needs(groups),
		Run:     checkLargeEvent,
	},
	{
		Name:    "data-not-retained",
		Promise: "Publish copies data, and every group gets bytes of its own.",
		Why:     "Publishers reuse buffers and handlers write into theirs; neither may change what is stored.",
		Needs:   needs(groups),
		Run:     checkDataNotRetained,
	},
	{
		Name:    "receipts",
		Promise: "Receipts are parallel to the batches, and say what was stored and where it ends.",
		Why:     "A publisher tells its caller which events are surely not stored by them.",
		Needs:   needs(groups),
		Run:     checkReceipts,
	},
	{
		Name:    "batches-fail-alone",
		Promise: "A batch that is refused stores nothing and takes no other with it.",
		Why:     "A publisher gathers the events of many callers; one mistake must not cost the others.",
		Takes:   hasTopics,
		Run:     checkBatchesFailAlone,
	},
	{
		Name:    "accepted-outlives-its-connection",
		Promise: "Accepted events outlive the connection that published them.",
		Why:     "Publish returned nil, so the event has happened for everybody.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			info := e.topic(driver.TopicSettings{Partitions: 2})
			other := e.open()
			e.publish(other, batch(info, 0, numbered(1, 50)...), batch(info, 1, numbered(51, 50)...))
			e.must("close", other.Close())
			e.join(e.open(), info.Name, "group").take(100)
		},
	},
}

// oddities are events that careless encodings lose something of.
func oddities() []driver.Message {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	odd := map[string]func(*driver.Message){
		"plain":        func(*driver.Message) {},
		"no data":      func(m *driver.Message) { m.Data = nil },
		"empty data":   func(m *driver.Message) { m.Data = []byte{} },
		"every byte":   func(m *driver.Message) { m.Data = everyByte },
		"json":         func(m *driver.Message) { m.Data = []byte(`{"a":"<b> & é \u0000","n":1.50}`) },
		"no time":      func(m *driver.Message) { m.Time = time.Time{} },
		"before epoch": func(m *driver.Message) { m.Time = time.Date(1899, 12, 31, 23, 59, 59, 999999999, time.UTC) },
		"zone":         func(m *driver.Message) { m.Time = m.Time.In(time.FixedZone("east", 5*3600+1800)) },
		"version":      func(m *driver.Message) { m.Version = 1 << 20 },
		"content type": func(m *driver.Message) { m.ContentType = "text/plain; charset=utf-8" },
		"no key":       func(m *driver.Message) { m.Key = "" },
		"utf-8 key":    func(m *driver.Message) { m.Key = "ключ/鍵/🔑 %:{}'\"\\\n\t" },
		"long key":     func(m *driver.Message) { m.Key = strings.Repeat("k", 1000) },
		"long source":  func(m *driver.Message) { m.Source = "urn:" + strings.Repeat("s", 1000) },
		"odd type":     func(m *driver.Message) { m.Type = "com.example.Ünïted/v1'; drop" },
		"attributes": func(m *driver.Message) {
			m.Attributes = map[string]string{
				"subject": "a/b c", "dataschema": "https://example.com/s?x=1#y",
				"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
				"ext":         "né \"quoted\", \\ and\nlines", "empty": "", "digits1": "007",
			}
		},
		"many attributes": func(m *driver.Message) {
			m.Attributes = make(map[string]string)
			for i := range 100 {
				m.Attributes[fmt.Sprintf("a%d", i)] = strings.Repeat("v", i)
			}
		},
	}
	var ms []driver.Message
	for what, change := range odd {
		m := message("id of "+what, "key")
		change(&m)
		ms = append(ms, m)
	}
	long := message(strings.Repeat("i", 1000), "key")
	return append(ms, long)
}

func checkEveryField(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	want := oddities()
	before := time.Now()
	e.publish(e.conn, batch(info, 0, want...))
	m := e.join(e.open(), info.Name, "group")
	got := m.take(len(want))
	for i := range got {
		sameMessage(t, &got[i].Message, &want[i])
		if d := got[i].Stored.Sub(before); d < -time.Minute || d > time.Minute {
			t.Errorf("event %q says it was stored at %v, which was at about %v", got[i].ID, got[i].Stored, before)
		}
	}
}

// sameMessage compares what came back with what was published.
func sameMessage(t T, got, want *driver.Message) {
	t.Helper()
	if got.ID != want.ID || got.Source != want.Source || got.Type != want.Type ||
		got.Version != want.Version || got.Key != want.Key {
		t.Errorf("got id %q, source %q, type %q, version %d, key %q\nwant id %q, source %q, type %q, version %d, key %q",
			got.ID, got.Source, got.Type, got.Version, got.Key, want.ID, want.Source, want.Type, want.Version, want.Key)
	}
	if !got.Time.Equal(want.Time) {
		t.Errorf("event %q: time %v, want %v", want.ID, got.Time, want.Time)
	}
	if !bytes.Equal(got.Data, want.Data) {
		t.Errorf("event %q: data is %s, want %s", want.ID, brief(got.Data), brief(want.Data))
	}
	if got.ContentType != want.ContentType {
		t.Errorf("event %q: content type %q, want %q", want.ID, got.ContentType, want.ContentType)
	}
	if !maps.Equal(got.Attributes, want.Attributes) {
		t.Errorf("event %q: attributes %q, want %q", want.ID, got.Attributes, want.Attributes)
	}
}

// brief writes data for an error.
func brief(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func checkLargeEvent(t T, e *Env) {
	size := 1 << 20 // what package deed accepts by default
	limit := e.features.MaxEventBytes
	if limit > 0 {
		size = min(size, limit)
	}
	info := e.topic(driver.TopicSettings{Partitions: 1})
	large := message("large", "key")
	large.Data = bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	e.publish(e.conn, batch(info, 0, message("before", "key"), large, message("after", "key")))
	got := e.join(e.conn, info.Name, "group").take(3)
	sameMessage(t, &got[1].Message, &large)
	if limit > 0 && limit <= 64<<20 {
		large.Data = make([]byte, limit+1)
		e.wantErr("an event above MaxEventBytes", e.publishErr(batch(info, 0, large)), driver.ErrRefused)
	}
}

func checkDataNotRetained(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := message("1", "key")
	m.Data = []byte("as published")
	e.expect(info, "first", "second")
	e.publish(e.conn, batch(info, 0, m))
	copy(m.Data, "overwritten!")
	for _, group := range []string{"first", "second"} {
		d := e.join(e.conn, info.Name, group).take(1)[0]
		if string(d.Data) != "as published" {
			t.Errorf("group %s: data is %q, want %q", group, d.Data, "as published")
		}
		copy(d.Data, "handled by one")
	}
}

func checkReceipts(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	rs := e.publish(e.conn, batch(info, 1, numbered(1, 3)...), batch(info, 0, numbered(4, 1)...),
		batch(info, 1, numbered(5, 2)...))
	want := []int{3, 1, 2}
	for i, r := range rs {
		if r.Stored != want[i] {
			t.Errorf("receipt %d says %d stored, want %d", i, r.Stored, want[i])
		}
	}
	m := e.join(e.conn, info.Name, "group")
	m.take(6)
	ends := map[string]int{"3": 0, "4": 1, "6": 2} // last event of a batch, and the batch
	for _, d := range m.got {
		i, ok := ends[d.ID]
		if ok && rs[i].Last != d.Position && (rs[i].Last != "" || e.features.DensePos) {
			t.Errorf("receipt %d says position %q, event %s has %q", i, rs[i].Last, d.ID, d.Position)
		}
	}
}

func checkBatchesFailAlone(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	absent := driver.TopicInfo{Name: e.freshName(), Generation: 1}
	e.expect(info, "group")
	rs, err := receipts(t.Context(), e.conn,
		batch(info, 0, message("1", "")), batch(absent, 0, message("2", "")), batch(info, 7, message("3", "")),
		batch(info, 0, message("4", "")))
	e.must("publish", err)
	for i, want := range []error{nil, driver.ErrNotFound, driver.ErrRefused, nil} {
		if want == nil && (rs[i].Err != nil || rs[i].Stored != 1) {
			t.Errorf("batch %d: stored %d, %v, want 1", i, rs[i].Stored, rs[i].Err)
		}
		if want != nil {
			e.wantErr(fmt.Sprintf("batch %d", i), rs[i].Err, want)
		}
	}
	got, err := capability[driver.Topics](e).Topic(t.Context(), info.Name)
	if err != nil || got.Events != 2 {
		t.Errorf("the topic has %d events, %v, want the 2 of the good batches", got.Events, err)
	}
}
