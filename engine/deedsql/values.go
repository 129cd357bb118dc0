package deedsql

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// listValue is a JSON array of strings.
func listValue(list []string) string {
	b := []byte{'['}
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, s)
	}
	return string(append(b, ']'))
}

// storable replaces in a text that a program made what some database does not store.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

const nanosPerSecond = int64(time.Second)

// timeValue is a time as a column: nanoseconds since 1970, null when unknown, and
// text for the years that nanoseconds do not reach, before 1678 and after 2261. The
// number is text as well, which SQLite makes a number in a column of those.
func timeValue(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case inNanos(t):
		return strconv.FormatInt(t.UnixNano(), 10)
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// inNanos reports whether nanoseconds since 1970 reach t.
func inNanos(t time.Time) bool {
	s := t.Unix()
	return s > math.MinInt64/nanosPerSecond && s < math.MaxInt64/nanosPerSecond
}

// parseTime reads what timeValue wrote.
func parseTime(v any) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case int64:
		return time.Unix(0, v).UTC(), nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return time.Unix(0, n).UTC(), nil
		}
		return time.Parse(time.RFC3339Nano, v)
	case []byte:
		return parseTime(string(v))
	}
	return time.Time{}, fmt.Errorf("a time is stored as %T", v)
}

// nanoTime reads a column that holds nanoseconds, 0 for none.
func nanoTime(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// nanos is the opposite of nanoTime.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// The names that other fields of a message have among the stored attributes.
const (
	contentType = "datacontenttype"
	notBefore   = "not-before" // no attribute: those have no hyphen
)

// attributesValue is a JSON object with the content type, the time of a delayed event
// and the attributes by sorted name, null when there are none.
func attributesValue(m *driver.Message) any {
	if len(m.Attributes) == 0 && m.ContentType == "" && m.NotBefore.IsZero() {
		return nil
	}
	return string(appendAttributes(make([]byte, 0, 128), m, m.ContentType))
}

// appendAttributes appends the object of attributesValue, without a content type of "".
func appendAttributes(b []byte, m *driver.Message, content string) []byte {
	names := make([]string, 0, len(m.Attributes))
	for name := range m.Attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	if content != "" {
		b = appendMember(b, contentType, content)
	}
	if !m.NotBefore.IsZero() {
		b = appendMember(b, notBefore, m.NotBefore.UTC().Format(time.RFC3339Nano))
	}
	for _, name := range names {
		b = appendMember(b, name, m.Attributes[name])
	}
	return append(b, '}')
}

// appendMember appends a member to a JSON object that is not closed yet.
func appendMember(b []byte, name, value string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(appendJSON(b, name), ':')
	return appendJSON(b, value)
}

// appendJSON appends s as a JSON string; plain ASCII, the usual case, as it is.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings can always be marshalled
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// parseAttributes reads what attributesValue wrote.
func parseAttributes(m *driver.Message, s string) error {
	if s == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(s), &m.Attributes); err != nil {
		return fmt.Errorf("the stored attributes are damaged: %w", err)
	}
	if s, ok := m.Attributes[notBefore]; ok {
		var err error
		if m.NotBefore, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return fmt.Errorf("the stored attributes are damaged: %w", err)
		}
		delete(m.Attributes, notBefore)
	}
	m.ContentType = m.Attributes[contentType]
	if delete(m.Attributes, contentType); len(m.Attributes) == 0 {
		m.Attributes = nil
	}
	return nil
}
