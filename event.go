package deed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is an immutable record of something that happened, with the attributes of
// CloudEvents 1.0. (Source, ID) identifies it. It reads and writes the CloudEvents
// JSON format.
type Event struct {
	ID      string
	Source  string // URI-reference of who announced it
	Type    string // explicit name, "orders.created"
	Version int    // of the type, from 1; the extension "typeversion", absent for 1
	Key     string // what order is kept by; the extension "partitionkey"
	Subject string
	Time    time.Time // when it happened

	ContentType string // of Data; CloudEvents' datacontenttype, "" means JSON
	Schema      string // CloudEvents' dataschema, a URI

	CorrelationID string // the conversation that it belongs to
	CausationID   string // the event that caused it
	TraceParent   string // W3C trace context
	TraceState    string

	// Extensions holds all other attributes: lower-case letters and digits.
	Extensions map[string]string

	Data []byte
}

// Names of the CloudEvents attributes that Event has fields for.
const (
	attrSpecVersion   = "specversion"
	attrID            = "id"
	attrSource        = "source"
	attrType          = "type"
	attrTime          = "time"
	attrSubject       = "subject"
	attrContentType   = "datacontenttype"
	attrSchema        = "dataschema"
	attrKey           = "partitionkey"
	attrVersion       = "typeversion"
	attrCorrelationID = "correlationid"
	attrCausationID   = "causationid"
	attrTraceParent   = "traceparent"
	attrTraceState    = "tracestate"
	attrData          = "data"
	attrDataBase64    = "data_base64"
)

const contentTypeJSON = "application/json"

// Validate reports the first attribute that CloudEvents, or deed, does not allow.
func (e *Event) Validate() error {
	switch {
	case e.ID == "":
		return fmt.Errorf("attribute id is empty")
	case e.Source == "":
		return fmt.Errorf("attribute source is empty (set Options.Source)")
	case e.Type == "":
		return fmt.Errorf("attribute type is empty")
	}
	if !isPath(e.Source) {
		if _, err := url.Parse(e.Source); err != nil {
			return fmt.Errorf("attribute source is no URI-reference: %q", e.Source)
		}
	}
	if e.Version < 0 {
		return fmt.Errorf("attribute typeversion is negative: %d", e.Version)
	}
	for _, a := range [...]struct{ name, value string }{
		{attrID, e.ID}, {attrSource, e.Source}, {attrType, e.Type}, {attrKey, e.Key}, {attrSubject, e.Subject},
	} {
		if !utf8.ValidString(a.value) {
			return fmt.Errorf("attribute %s is not UTF-8: %q", a.name, a.value)
		}
	}
	for name, value := range e.Extensions {
		if !validAttribute(name) || reservedAttribute(name) {
			return fmt.Errorf("extension %q: names are lower-case letters and digits, and none of deed's own", name)
		}
		if !utf8.ValidString(value) {
			return fmt.Errorf("extension %s is not UTF-8: %q", name, value)
		}
	}
	return nil
}

// isPath reports whether s is a URI-reference of unreserved characters and slashes,
// as sources mostly are, which saves parsing it.
func isPath(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '/', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

func validAttribute(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

func reservedAttribute(name string) bool {
	switch name {
	case attrSpecVersion, attrID, attrSource, attrType, attrTime, attrSubject, attrContentType, attrSchema, attrKey,
		attrVersion, attrCorrelationID, attrCausationID, attrTraceParent, attrTraceState, attrData:
		return true
	}
	return false
}

// isJSON reports whether Data is a JSON value by its content type.
func (e *Event) isJSON() bool {
	t := strings.ToLower(e.ContentType)
	if i := strings.IndexByte(t, ';'); i >= 0 {
		t = strings.TrimSpace(t[:i])
	}
	return t == "" || t == contentTypeJSON || strings.HasSuffix(t, "+json")
}

// MarshalJSON writes the CloudEvents JSON format: data that is JSON as a value,
// other text as a string, the rest as data_base64.
func (e Event) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 320+len(e.Data))
	b = append(b, `{"specversion":"1.0"`...)
	b = appendAttr(b, attrID, e.ID)
	b = appendAttr(b, attrSource, e.Source)
	b = appendAttr(b, attrType, e.Type)
	if e.Version > 1 {
		b = fmt.Appendf(b, `,"%s":%d`, attrVersion, e.Version)
	}
	if !e.Time.IsZero() {
		b = append(b, `,"time":"`...)
		b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	for _, a := range [...]struct{ name, value string }{
		{attrSubject, e.Subject}, {attrKey, e.Key}, {attrContentType, e.ContentType}, {attrSchema, e.Schema},
		{attrCorrelationID, e.CorrelationID}, {attrCausationID, e.CausationID},
		{attrTraceParent, e.TraceParent}, {attrTraceState, e.TraceState},
	} {
		if a.value != "" {
			b = appendAttr(b, a.name, a.value)
		}
	}
	for _, name := range sortedKeys(e.Extensions) {
		b = appendAttr(b, name, e.Extensions[name])
	}
	b, err := e.appendData(b)
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func (e *Event) appendData(b []byte) ([]byte, error) {
	switch {
	case e.Data == nil:
		return b, nil
	case e.isJSON() && json.Valid(e.Data):
		b = append(b, `,"data":`...)
		var line bytes.Buffer // one document stays on one line
		if err := json.Compact(&line, e.Data); err != nil {
			return nil, err
		}
		return append(b, line.Bytes()...), nil
	case !e.isJSON() && utf8.Valid(e.Data):
		return appendAttr(b, attrData, string(e.Data)), nil
	default:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Data)
		return append(b, '"'), nil
	}
}

func appendAttr(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	q, _ := json.Marshal(value) // a string always marshals
	return append(b, q...)
}

// UnmarshalJSON reads one CloudEvents JSON document. It refuses what the
// specification does: a missing required attribute, another specversion, both
// data and data_base64.
func (e *Event) UnmarshalJSON(b []byte) error {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("not a CloudEvents JSON document: %w", err)
	}
	var out Event
	for name, raw := range doc {
		if name == attrData || name == attrDataBase64 {
			continue
		}
		if !validAttribute(name) {
			return fmt.Errorf("attribute name %q: only lower-case letters and digits", name)
		}
		value, err := attributeText(raw)
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
		if value == "" {
			continue
		}
		if err := out.setAttribute(name, value); err != nil {
			return err
		}
	}
	if v, _ := attributeText(doc[attrSpecVersion]); v != "1.0" {
		return fmt.Errorf("attribute specversion is %q, want \"1.0\"", v)
	}
	if err := out.setData(doc[attrData], doc[attrDataBase64]); err != nil {
		return err
	}
	if err := out.Validate(); err != nil {
		return err
	}
	*e = out
	return nil
}

// attributeText turns a JSON attribute value into CloudEvents' canonical string.
func attributeText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '{', '[':
		return "", fmt.Errorf("is no string, number or boolean")
	default:
		return string(raw), nil
	}
}

// setAttribute sets a field or extension by its CloudEvents name.
func (e *Event) setAttribute(name, value string) (err error) {
	switch name {
	case attrSpecVersion:
	case attrID:
		e.ID = value
	case attrSource:
		e.Source = value
	case attrType:
		e.Type = value
	case attrTime:
		if e.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
			return fmt.Errorf("attribute time is no RFC 3339 time: %q", value)
		}
	case attrVersion:
		if e.Version, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("attribute typeversion is no number: %q", value)
		}
	case attrSubject:
		e.Subject = value
	case attrKey:
		e.Key = value
	case attrContentType:
		e.ContentType = value
	case attrSchema:
		e.Schema = value
	case attrCorrelationID:
		e.CorrelationID = value
	case attrCausationID:
		e.CausationID = value
	case attrTraceParent:
		e.TraceParent = value
	case attrTraceState:
		e.TraceState = value
	default:
		if e.Extensions == nil {
			e.Extensions = make(map[string]string)
		}
		e.Extensions[name] = value
	}
	return nil
}

func (e *Event) setData(data, encoded json.RawMessage) error {
	if len(data) > 0 && len(encoded) > 0 {
		return fmt.Errorf("both data and data_base64 are present")
	}
	if len(encoded) > 0 {
		if err := json.Unmarshal(encoded, &e.Data); err != nil {
			return fmt.Errorf("data_base64: %w", err)
		}
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	if !e.isJSON() && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("data: %w", err)
		}
		e.Data = []byte(s)
		return nil
	}
	e.Data = bytes.Clone(data)
	return nil
}
