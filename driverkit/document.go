package driverkit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/deedgo/deed/driver"
)

// A message that holds attributes and data in one is a document in the JSON format of
// CloudEvents, so that any client can read it.

const (
	attrSpec    = "specversion"
	attrData    = "data"
	attrData64  = "data_base64"
	specVersion = "1.0"
)

// AppendDocument writes a message with its data as a document. Data that is JSON or text
// stands there as it is, all else in base64.
func AppendDocument(b []byte, m *driver.Message) []byte {
	b = append(b, `{"specversion":"1.0"`...)
	open := len(b)
	b = AppendAttributes(b, m)
	b[open] = ',' // the brace
	b = b[:len(b)-1]
	switch data := m.Data; {
	case data == nil:
	case isJSON(m.ContentType) && embeddable(data):
		b = append(b, `,"data":`...)
		b = append(b, data...)
	case isText(m.ContentType) && utf8.Valid(data):
		b = append(b, `,"data":`...)
		b = appendText(b, string(data))
	default:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, data)
		b = append(b, '"')
	}
	return append(b, '}')
}

// embeddable reports whether data comes back byte for byte when it stands in a
// document as a value.
func embeddable(data []byte) bool {
	return len(data) > 0 && len(bytes.TrimSpace(data)) == len(data) && utf8.Valid(data) && json.Valid(data)
}

func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return t
}

func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t := mediaType(contentType)
	return t == "application/json" || strings.HasSuffix(t, "+json")
}

func isText(contentType string) bool { return strings.HasPrefix(mediaType(contentType), "text/") }

// ReadDocument reads what a program wrote as one message: a document in the JSON format of
// CloudEvents, or plain data, which becomes an event without attributes. A document that
// cannot be read becomes plain data too, with the reason as an error.
func ReadDocument(payload string, m *driver.Message) error {
	if scanDocument(payload, m) {
		return nil
	}
	var members map[string]json.RawMessage
	if !strings.HasPrefix(strings.TrimLeft(payload, " \t\r\n"), "{") ||
		json.Unmarshal([]byte(payload), &members) != nil || members[attrSpec] == nil {
		readPlain([]byte(payload), m)
		return nil
	}
	damage := readDocument(members, m)
	if damage != nil {
		*m = driver.Message{Version: 1, Data: []byte(payload)}
	}
	return damage
}

// scanDocument reads a document as deed writes it nearly always: specversion first, no
// escapes or spaces among the attributes, the data last. It reports false for anything
// else.
func scanDocument(s string, m *driver.Message) bool {
	*m = driver.Message{Version: 1}
	s, ok := strings.CutPrefix(s, `{"specversion":"1.0"`)
	if !ok || !strings.HasSuffix(s, "}") {
		return false
	}
	for s = s[:len(s)-1]; s != ""; {
		name, rest, ok := scanText(strings.TrimPrefix(s, ","))
		if !ok || s[0] != ',' || len(rest) < 2 || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		if name == attrData {
			return m.ID != "" && scanData(rest, m)
		}
		value, rest, ok := scanValue(rest)
		if !ok || name == attrSpec {
			return false
		}
		if name == attrData64 {
			var err error
			m.Data, err = base64.StdEncoding.DecodeString(value)
			return err == nil && rest == "" && m.ID != ""
		}
		if SetAttribute(m, name, value) != nil {
			return false
		}
		s = rest
	}
	return m.ID != ""
}

// scanData takes the rest of a document for data. When it is one JSON value, no member
// follows.
func scanData(s string, m *driver.Message) bool {
	if isJSON(m.ContentType) {
		m.Data = []byte(s)
		return strings.TrimSpace(s) == s && json.Valid(m.Data)
	}
	text, rest, ok := scanText(s)
	m.Data = []byte(text)
	return ok && rest == ""
}

// scanValue reads a text without escapes, or a number.
func scanValue(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return scanText(s)
	}
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:], n > 0
}

// readPlain takes a payload that says nothing of itself for the data of an event: JSON,
// text or neither, by what it looks like.
func readPlain(payload []byte, m *driver.Message) {
	*m = driver.Message{Version: 1, Data: payload}
	switch {
	case json.Valid(payload):
	case utf8.Valid(payload):
		m.ContentType = "text/plain; charset=utf-8"
	default:
		m.ContentType = "application/octet-stream"
	}
}

func readDocument(members map[string]json.RawMessage, m *driver.Message) error {
	*m = driver.Message{Version: 1}
	for name, raw := range members {
		if name == attrData || name == attrData64 {
			continue
		}
		value, ok, err := attributeText(raw)
		switch {
		case err != nil:
			return fmt.Errorf("its %s: %w", name, err)
		case !ok:
			continue
		case name == attrSpec && value != specVersion:
			return fmt.Errorf("its specversion is %q (want %s)", value, specVersion)
		}
		if err := SetAttribute(m, name, value); err != nil {
			return err
		}
	}
	if encoded := members[attrData64]; encoded != nil {
		if err := json.Unmarshal(encoded, &m.Data); err != nil {
			return fmt.Errorf("its data_base64: %w", err)
		}
		return nil
	}
	data := members[attrData]
	if data == nil {
		return nil
	}
	if !isJSON(m.ContentType) && data[0] == '"' {
		text, _, err := attributeText(data)
		m.Data = []byte(text)
		return err
	}
	m.Data = data
	return nil
}

// attributeText turns a JSON value into the text of an attribute; null is none.
func attributeText(raw json.RawMessage) (text string, ok bool, err error) {
	switch raw[0] {
	case '"':
		err = json.Unmarshal(raw, &text)
		return text, true, err
	case '{', '[':
		return "", false, fmt.Errorf("it is no string, number or boolean")
	}
	return string(raw), string(raw) != "null", nil
}

// Complete fills in what another program left out of an event that came by an engine, and
// the reason why it cannot be read, if there is one: raw is then what it was read from.
func Complete(d *driver.Delivery, engine, topic, raw string, damage error) {
	m := &d.Message
	if m.ID == "" {
		m.ID = d.Position
	}
	if m.Source == "" {
		m.Source = "/" + engine + "/" + topic
	}
	if damage == nil {
		if m.Type == "" {
			m.Type = topic
		}
		return
	}
	d.Unreadable = damage.Error()
	if m.Type == "" {
		m.Type = engine + ".unreadable"
		if raw != "" {
			SetAttribute(m, "m", raw) // so that nothing of it is lost
		}
	}
	SetAttribute(m, "unreadable", d.Unreadable)
}
