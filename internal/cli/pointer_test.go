package cli

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The document and the pointers of RFC 6901, section 5, and what deed adds.
func TestPointer(t *testing.T) {
	const doc = `{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
		" ": 7, "m~n": 8, "twice": "first", "twice": "last", "nested": {"a": [{"b": "é\n"}, -1.5e3]}, "yes": true,
		"nothing": null, "empty": "", "brackets": "}]{[\"", "after": "x"}`
	for _, c := range []struct{ ptr, want string }{
		{"/foo/0", "bar"}, {"/foo/1", "baz"}, {"/", "0"}, {"/a~1b", "1"}, {"/c%d", "2"}, {"/e^f", "3"}, {"/g|h", "4"},
		{`/i\j`, "5"}, {`/k"l`, "6"}, {"/ ", "7"}, {"/m~0n", "8"},
		{"/twice", "last"}, {"/nested/a/0/b", "é\n"}, {"/nested/a/1", "-1.5e3"}, {"/yes", "true"}, {"/after", "x"},
		{"=a literal", "a literal"}, {"=/foo", "/foo"},
	} {
		p, err := parsePointer("key", c.ptr)
		if err != nil {
			t.Errorf("%s: %v", c.ptr, err)
			continue
		}
		if got, _, err := p.value([]byte(doc)); err != nil || got != c.want {
			t.Errorf("%s is %q, %v (want %q)", c.ptr, got, err, c.want)
		}
	}
	for ptr, want := range map[string]string{
		"/none": "no such value", "/foo/2": "no such value", "/foo/00": "no such value", "/foo/-": "no such value",
		"/foo/-1": "no such value", "/foo/+1": "no such value", "/foo/0/x": "no such value", "/foo": "no string",
		"/nothing": "no string", "/nested": "no string", "/empty": "empty",
	} {
		p, err := parsePointer("key", ptr)
		if err != nil {
			t.Errorf("%s: %v", ptr, err)
			continue
		}
		if got, _, err := p.value([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %q, %v (want an error with %q)", ptr, got, err, want)
		}
	}
	for _, ptr := range []string{"foo", "/~", "/~2", "/a~", "="} {
		if _, err := parsePointer("key", ptr); err == nil {
			t.Errorf("%q is accepted", ptr)
		}
	}
}

func TestInstant(t *testing.T) {
	want := time.Date(2018, 1, 31, 1, 49, 59, 650e6, time.UTC)
	for doc, want := range map[string]time.Time{
		`1517363399650`: want, `1517363399650.25`: want.Add(250 * time.Microsecond), `1.51736339965e12`: want,
		`"2018-01-31T01:49:59.65Z"`: want, `"2018-01-31T02:49:59.65+01:00"`: want,
	} {
		if got, err := (pointer{}).instant([]byte(doc)); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v (want %v)", doc, got, err, want)
		}
	}
	for _, doc := range []string{`"1517363399650"`, `"yesterday"`, `true`, `1e300`, `null`, `[1]`} {
		if got, err := (pointer{}).instant([]byte(doc)); err == nil {
			t.Errorf("%s is accepted as %v", doc, got)
		}
	}
}

// FuzzFind compares the scanner with encoding/json, which must agree on every
// valid document.
func FuzzFind(f *testing.F) {
	for _, doc := range []string{
		`{"a":{"b":[1,"x",{"c":null}]}}`, `[[],{},"",0]`, `"\u00e9\\\""`, ` { "a" : "}" , "a" : [ ] } `, `-1e5`,
		`{"\u0061":1}`, `[[[[1]]]]`, `{"a":"\\"}`,
	} {
		f.Add(doc, "a", "b", "0")
	}
	f.Fuzz(func(t *testing.T, doc, a, b, c string) {
		if !json.Valid([]byte(doc)) {
			return
		}
		for _, tokens := range [][]string{nil, {a}, {a, b}, {a, b, c}, {c, a}} {
			got, ok := find([]byte(doc), tokens)
			want, wantOK := findByDecoding([]byte(doc), tokens)
			if ok != wantOK || ok && !sameJSON(got, want) {
				t.Errorf("%q of %s is %s, %v (want %s, %v)", tokens, doc, got, ok, want, wantOK)
			}
		}
	})
}

func findByDecoding(doc []byte, tokens []string) (json.RawMessage, bool) {
	raw := json.RawMessage(doc)
	for _, token := range tokens {
		var members map[string]json.RawMessage
		var elements []json.RawMessage
		switch {
		case json.Unmarshal(raw, &members) == nil:
			v, ok := members[token]
			if !ok {
				return nil, false
			}
			raw = v
		case json.Unmarshal(raw, &elements) == nil:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(elements) || strconv.Itoa(i) != token {
				return nil, false
			}
			raw = elements[i]
		default:
			return nil, false
		}
	}
	return raw, true
}

func sameJSON(a, b []byte) bool {
	return strings.TrimSpace(string(a)) == strings.TrimSpace(string(b))
}
