package deed_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
)

func TestEventJSONRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	full := deed.Event{
		ID: "1", Source: "/s", Type: "t", Version: 3, Key: "k", Subject: "sub", Time: at, ContentType: "application/json",
		Schema: "http://x/y", CorrelationID: "c", CausationID: "d", TraceParent: "tp", TraceState: "ts",
		Extensions: map[string]string{"a1": "x", "b": "\"quoted\"\n"}, Data: []byte(`{"a":[1,2]}`),
	}
	least := deed.Event{ID: "1", Source: "/s", Type: "t"}
	text := deed.Event{ID: "1", Source: "/s", Type: "t", ContentType: "text/plain", Data: []byte("héllo\n")}
	binary := deed.Event{ID: "1", Source: "/s", Type: "t", ContentType: "image/png", Data: []byte{0, 0xff}}
	noJSON := deed.Event{ID: "1", Source: "/s", Type: "t", Data: []byte("{")}
	for name, e := range map[string]deed.Event{
		"full": full, "least": least, "text": text, "binary": binary, "broken JSON": noJSON,
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsRune(string(b), '\n') {
				t.Errorf("more than one line: %s", b)
			}
			var got deed.Event
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%v in %s", err, b)
			}
			if !reflect.DeepEqual(got, e) {
				t.Errorf("got %+v\nwant %+v\nby way of %s", got, e, b)
			}
		})
	}
}

func TestEventJSONRefuses(t *testing.T) {
	for doc, want := range map[string]string{
		`[]`:                                  "not a CloudEvents JSON document",
		`{"id":"1","source":"/s","type":"t"}`: "specversion",
		`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`:                                  "specversion",
		`{"specversion":"1.0","source":"/s","type":"t"}`:                                           "attribute id is empty",
		`{"specversion":"1.0","id":"1","type":"t"}`:                                                "source is empty",
		`{"specversion":"1.0","id":"1","source":"/s"}`:                                             "attribute type is empty",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"now"}`:                     "attribute time",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","Upper":"x"}`:                      `"Upper"`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","x":{}}`:                           "attribute x",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":""}`:        "both data and",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"%"}`:                "data_base64",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","typeversion":"x"}`:                "typeversion",
		`{"specversion":"1.0","id":"1","source":"::bad","type":"t"}`:                               "source",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","typeversion":-1}`:                 "typeversion",
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":["text/plain"]}`: "datacontenttype",
	} {
		var e deed.Event
		if err := json.Unmarshal([]byte(doc), &e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", doc, err, want)
		}
	}
}

// FuzzEventJSON checks that whatever is accepted is written back as the same event.
func FuzzEventJSON(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-01-02T03:04:05Z","data":{"a":1}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"x"}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","ext1":true,"data_base64":"AAE="}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var e, again deed.Event
		if json.Unmarshal(doc, &e) != nil {
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("accepted but cannot be written: %v", err)
		}
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatalf("written but not accepted: %v: %s", err, b)
		}
		if e.ID != again.ID || e.Source != again.Source || e.Key != again.Key || !e.Time.Equal(again.Time) ||
			len(e.Extensions) != len(again.Extensions) || (e.Data == nil) != (again.Data == nil) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}

func TestNewIDIsUniqueAndSortsByTime(t *testing.T) {
	seen := make(map[string]bool)
	last := ""
	for range 1000 {
		id := deed.NewID()
		if len(id) != 36 || id[14] != '7' || seen[id] {
			t.Fatalf("bad or repeated id %q", id)
		}
		seen[id] = true
		if id[:13] < last {
			t.Fatalf("%q sorts before %q", id, last)
		}
		last = id[:13]
	}
}
