package driverkit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deedgo/deed/driver"
)

// Engines whose messages other programs read too keep an event's attributes as
// CloudEvents does in JSON.

// The names of the attributes that driver.Message has fields for.
const (
	attrID      = "id"
	attrSource  = "source"
	attrType    = "type"
	attrTime    = "time"
	attrKey     = "partitionkey"
	attrVersion = "typeversion"
	attrContent = "datacontenttype"
	notBefore   = "not-before" // no attribute: those have no hyphen
)

// AppendAttributes writes the attributes of a message as a compact JSON object.
func AppendAttributes(b []byte, m *driver.Message) []byte {
	b = append(b, `{"id":`...)
	b = appendText(b, m.ID)
	b = appendMember(b, attrSource, m.Source)
	b = appendMember(b, attrType, m.Type)
	if m.Version != 1 {
		b = append(b, `,"typeversion":`...)
		b = strconv.AppendInt(b, int64(m.Version), 10)
	}
	if m.Key != "" {
		b = appendMember(b, attrKey, m.Key)
	}
	if !m.Time.IsZero() {
		b = append(b, `,"time":"`...)
		b = m.Time.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	if m.ContentType != "" {
		b = appendMember(b, attrContent, m.ContentType)
	}
	if !m.NotBefore.IsZero() {
		b = appendMember(b, notBefore, m.NotBefore.UTC().Format(time.RFC3339Nano))
	}
	if len(m.Attributes) > 0 {
		names := make([]string, 0, len(m.Attributes))
		for name := range m.Attributes {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			b = appendMember(b, name, m.Attributes[name])
		}
	}
	return append(b, '}')
}

func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',')
	b = appendText(b, name)
	b = append(b, ':')
	return appendText(b, value)
}

// appendText writes a JSON string. What needs no escape, as nearly all does, is
// copied.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil { // no string does that
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// ParseAttributes reads what AppendAttributes wrote, or any JSON object of strings,
// numbers and booleans.
func ParseAttributes(text string, m *driver.Message) error {
	m.Version = 1
	if scanAttributes(text, m) {
		return nil
	}
	*m = driver.Message{Version: 1}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return fmt.Errorf("its attributes are no JSON object: %w", err)
	}
	var first error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := SetAttribute(m, name, fmt.Sprint(all[name])); first == nil {
			first = err // what can be read is, the key above all
		}
	}
	return first
}

// SetAttribute sets the field that holds an attribute of CloudEvents, by its name, or adds
// it to m.Attributes. What the value cannot mean is an error, and leaves the field.
func SetAttribute(m *driver.Message, name, value string) (err error) {
	switch name {
	case attrID:
		m.ID = value
	case attrSource:
		m.Source = value
	case attrType:
		m.Type = value
	case attrKey:
		m.Key = value
	case attrContent:
		m.ContentType = value
	case attrVersion:
		if m.Version, err = strconv.Atoi(value); err != nil {
			err = fmt.Errorf("its typeversion is %q (want a number)", value)
		}
	case attrTime:
		if m.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
			err = fmt.Errorf("its time is %q (want RFC 3339)", value)
		}
	case notBefore:
		if m.NotBefore, err = time.Parse(time.RFC3339Nano, value); err != nil {
			err = fmt.Errorf("its not-before is %q (want RFC 3339)", value)
		}
	case "specversion":
	default:
		if m.Attributes == nil {
			m.Attributes = make(map[string]string)
		}
		m.Attributes[name] = value
	}
	return err
}

// scanAttributes reads an object of plain strings and numbers without escapes, which
// is what deed writes nearly always. It reports false for anything else.
func scanAttributes(s string, m *driver.Message) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	s = s[1 : len(s)-1]
	for len(s) > 0 {
		name, rest, ok := scanText(s)
		if !ok || len(rest) < 2 || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		var value string
		if rest[0] == '"' {
			if value, rest, ok = scanText(rest); !ok {
				return false
			}
		} else {
			n := 0
			for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
				n++
			}
			if n == 0 {
				return false
			}
			value, rest = rest[:n], rest[n:]
		}
		if SetAttribute(m, name, value) != nil {
			return false
		}
		if rest == "" {
			return true
		}
		if rest[0] != ',' || len(rest) == 1 {
			return false
		}
		s = rest[1:]
	}
	return false
}

// scanText reads a JSON string without escapes.
func scanText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"') + 1
	if end == 0 || strings.IndexByte(s[1:end], '\\') >= 0 {
		return "", "", false
	}
	return s[1:end], s[end+1:], true
}
