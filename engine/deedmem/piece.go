package deedmem

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// piece is what is stored of the messages of one batch: two allocations for all of
// them. Deliveries share the text, and get copies of the data.
type piece struct {
	text string // of each message: id, key, and what extra wrote
	data []byte
}

// newPiece copies messages.
func newPiece(ms []driver.Message) *piece {
	text, data := 0, 0
	for i := range ms {
		text += len(ms[i].ID) + len(ms[i].Key)
		data += len(ms[i].Data)
	}
	var b strings.Builder
	b.Grow(text)
	p := &piece{data: make([]byte, 0, data)}
	for i := range ms {
		m := &ms[i]
		b.WriteString(m.ID)
		b.WriteString(m.Key)
		if hasExtra(m) {
			b.Write(extra(m))
		}
		p.data = append(p.data, m.Data...)
	}
	p.text = b.String()
	return p
}

// reader goes through a piece, message by message.
type reader struct {
	*piece
	textAt, dataAt int
}

// next returns where m is, the next message of the piece.
func (r *reader) next(m *driver.Message) event {
	e := event{
		text: r.textAt, data: r.dataAt, id: int32(len(m.ID)), key: int32(len(m.Key)), bytes: int32(len(m.Data)),
		extra: hasExtra(m), seconds: m.Time.Unix(), nanos: int32(m.Time.Nanosecond()),
	}
	r.textAt += len(m.ID) + len(m.Key)
	if e.extra {
		n, prefix := uvarint(r.text[r.textAt:])
		r.textAt += prefix + n
	}
	r.dataAt += len(m.Data)
	return e
}

// notBefore is the name under which a message's NotBefore is among the extras. No
// attribute has a hyphen.
const notBefore = "not-before"

func hasExtra(m *driver.Message) bool { return len(m.Attributes) > 0 || !m.NotBefore.IsZero() }

// extra writes the attributes and NotBefore, names and values in turn. Their length
// comes first, and that of each before it.
func extra(m *driver.Message) []byte {
	var b []byte
	add := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		add(name)
		add(m.Attributes[name])
	}
	if !m.NotBefore.IsZero() {
		add(notBefore)
		add(m.NotBefore.UTC().Format(time.RFC3339Nano))
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// readExtra reads what extra wrote.
func readExtra(text string, m *driver.Message) {
	cut := func() (s string) {
		n, prefix := uvarint(text)
		s, text = text[prefix:][:n], text[prefix+n:]
		return s
	}
	for text = cut(); text != ""; {
		name, value := cut(), cut()
		if name == notBefore {
			m.NotBefore, _ = time.Parse(time.RFC3339Nano, value) // written by extra
			continue
		}
		if m.Attributes == nil {
			m.Attributes = make(map[string]string)
		}
		m.Attributes[name] = value
	}
}

// uvarint is binary.Uvarint for text.
func uvarint(s string) (n, size int) {
	for shift := 0; ; shift += 7 {
		c := s[size]
		size++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return n, size
		}
	}
}
