package deedsql

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// A row of the log holds what is an event's own in a JSON array, since one column is
// written and read in a third of the time of seven:
//
//	[kind, id, key, time]
//	[kind, id, key, time, {"subject": "x"}]
//
// Kind is the number of what many events share, a row of deed_kind. When there are
// too many of those it stands in the array itself: [source, type, version, content
// type].

// kind is what many events have in common.
type kind struct {
	source, name string
	version      int
	contentType  string
}

func kindOf(m *driver.Message) kind { return kind{m.Source, m.Type, m.Version, m.ContentType} }

// appendMeta appends the array for m. Number 0 writes the kind itself.
func appendMeta(b []byte, m *driver.Message, number int64) []byte {
	b = append(b, '[')
	if number > 0 {
		b = strconv.AppendInt(b, number, 10)
	} else {
		b = appendJSON(append(b, '['), m.Source)
		b = appendJSON(append(b, ','), m.Type)
		b = strconv.AppendInt(append(b, ','), int64(m.Version), 10)
		b = append(appendJSON(append(b, ','), m.ContentType), ']')
	}
	b = appendJSON(append(b, ','), m.ID)
	b = appendJSON(append(b, ','), m.Key)
	b = append(b, ',')
	switch {
	case m.Time.IsZero():
		b = append(b, "null"...)
	case inNanos(m.Time):
		b = strconv.AppendInt(b, m.Time.UnixNano(), 10)
	default:
		b = appendJSON(b, m.Time.UTC().Format(time.RFC3339Nano))
	}
	if len(m.Attributes) > 0 || !m.NotBefore.IsZero() {
		b = appendAttributes(append(b, ','), m, "")
	}
	return append(b, ']')
}

// parseMeta reads what appendMeta wrote. The strings of m share meta's memory.
func parseMeta(meta string, m *driver.Message) (number int64, err error) {
	p := metaParser{rest: meta}
	p.expect('[')
	if strings.HasPrefix(p.rest, "[") {
		p.expect('[')
		m.Source = p.text()
		p.expect(',')
		m.Type = p.text()
		p.expect(',')
		m.Version = int(p.integer())
		p.expect(',')
		m.ContentType = p.text()
		p.expect(']')
	} else {
		number = p.integer()
	}
	p.expect(',')
	m.ID = p.text()
	p.expect(',')
	m.Key = p.text()
	p.expect(',')
	m.Time = p.time()
	if p.more(',') {
		m.Attributes = p.object()
		if s, ok := m.Attributes[notBefore]; ok {
			m.NotBefore, err = time.Parse(time.RFC3339Nano, s)
			p.failed = p.failed || err != nil
			if delete(m.Attributes, notBefore); len(m.Attributes) == 0 {
				m.Attributes = nil
			}
		}
	}
	p.expect(']')
	if p.failed || p.rest != "" {
		return 0, errors.New("what is stored beside the data is damaged: " + strconv.Quote(meta))
	}
	return number, nil
}

// metaParser reads JSON that has no spaces, as appendMeta writes it.
type metaParser struct {
	rest   string
	failed bool
}

// more skips c if it comes next.
func (p *metaParser) more(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *metaParser) expect(c byte) {
	if !p.more(c) {
		p.failed, p.rest = true, ""
	}
}

func (p *metaParser) integer() int64 {
	end := 0
	for end < len(p.rest) && (p.rest[end] == '-' || '0' <= p.rest[end] && p.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(p.rest[:end], 10, 64)
	if err != nil {
		p.failed = true
	}
	p.rest = p.rest[end:]
	return n
}

// text reads a string; only one with escapes costs an allocation.
func (p *metaParser) text() (s string) {
	p.expect('"')
	plain := true
	for i := 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			plain = false
			i++
		case '"':
			raw := p.rest[:i]
			p.rest = p.rest[i+1:]
			if plain {
				return raw
			}
			if err := json.Unmarshal([]byte(`"`+raw+`"`), &s); err != nil {
				p.failed = true
			}
			return s
		}
	}
	p.failed = true
	return ""
}

func (p *metaParser) time() time.Time {
	switch {
	case strings.HasPrefix(p.rest, "null"):
		p.rest = p.rest[len("null"):]
		return time.Time{}
	case strings.HasPrefix(p.rest, `"`):
		t, err := time.Parse(time.RFC3339Nano, p.text())
		p.failed = p.failed || err != nil
		return t
	}
	return time.Unix(0, p.integer()).UTC()
}

func (p *metaParser) object() map[string]string {
	values := make(map[string]string)
	p.expect('{')
	for !p.failed {
		name := p.text()
		p.expect(':')
		values[name] = p.text()
		if !p.more(',') {
			break
		}
	}
	p.expect('}')
	return values
}
