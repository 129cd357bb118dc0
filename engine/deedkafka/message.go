package deedkafka

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// A record is an event in the binary mode of CloudEvents' Kafka binding: its attributes
// are headers with ce_ before their names, its data is the value. Those that others wrote
// in the structured mode are read too, and such that are no CloudEvents at all.

const (
	attrPrefix  = "ce_"
	contentType = "content-type"
	attrKey     = "partitionkey"
	attrVersion = "typeversion"
	attrContent = "datacontenttype"
	attrSchema  = "schemaid" // what the Confluent wire format has in front of the data
	structured  = "application/cloudevents+json"

	// foreignSource, with the topic, is the source of an event that does not say.
	foreignSource = "/kafka/"
	// unreadableType is the type of a record of which not even that can be read.
	unreadableType = "kafka.unreadable"

	// wireHeader is the length of what the Confluent wire format has in front of data.
	wireHeader = 5
)

// record writes a message. It copies the data, which is the caller's again afterwards.
func (s *settings) record(m *driver.Message, topic string, partition int) *kgo.Record {
	const others = 64 // the version, numbers and times
	room := others + len(m.ID) + len(m.Source) + len(m.Type) + len(m.ContentType) + len(m.Key) + wireHeader + len(m.Data)
	for _, value := range m.Attributes {
		room += len(value)
	}
	w := headers{room: make([]byte, 0, room), all: make([]kgo.RecordHeader, 0, 8+len(m.Attributes))}
	w.add("ce_specversion", "1.0")
	w.add("ce_id", m.ID)
	w.add("ce_source", m.Source)
	w.add("ce_type", m.Type)
	if m.Version != 1 {
		w.add(attrPrefix+attrVersion, strconv.Itoa(m.Version))
	}
	if !m.Time.IsZero() {
		from := len(w.room)
		w.room = m.Time.UTC().AppendFormat(w.room, time.RFC3339Nano)
		w.all = append(w.all, kgo.RecordHeader{Key: "ce_time", Value: w.cut(from)})
	}
	if m.ContentType != "" {
		w.add(contentType, m.ContentType)
	}
	if len(m.Attributes) > 0 {
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			w.add(attrPrefix+name, m.Attributes[name])
		}
	}
	r := &kgo.Record{Topic: topic, Partition: int32(partition), Headers: w.all}
	if m.Key != "" {
		r.Key = w.text(m.Key)
	}
	from := len(w.room)
	if s.schema > 0 {
		w.room = binary.BigEndian.AppendUint32(append(w.room, 0), uint32(s.schema))
	}
	w.room = append(w.room, m.Data...)
	r.Value = w.cut(from) // never nil, which would be a tombstone
	return r
}

// headers are those of a record on its way, whose bytes share one room.
type headers struct {
	room []byte
	all  []kgo.RecordHeader
}

func (w *headers) add(name, value string) {
	w.all = append(w.all, kgo.RecordHeader{Key: name, Value: w.text(value)})
}

func (w *headers) text(value string) []byte {
	from := len(w.room)
	w.room = append(w.room, value...)
	return w.cut(from)
}

// cut returns what was added since from.
func (w *headers) cut(from int) []byte { return w.room[from:len(w.room):len(w.room)] }

// delivery reads a record. What it has in common with the last one that was read they share.
func (s *settings) delivery(r *kgo.Record, topic string, last *driver.Message) driver.Delivery {
	d := driver.Delivery{Partition: int(r.Partition), Position: driverkit.Position(r.Offset + 1)}
	d.Stored = r.Timestamp.UTC()
	m := &d.Message
	m.Version, m.Key = 1, string(r.Key)
	var damage error
	for _, h := range r.Headers {
		if err := setHeader(m, &h, last); damage == nil {
			damage = err
		}
	}
	m.Data = r.Value
	mode, _, _ := strings.Cut(strings.ToLower(m.ContentType), ";")
	if m.ID == "" && strings.TrimSpace(mode) == structured {
		m.ContentType = ""
		if err := readStructured(m, r.Value); err != nil {
			m.Data, damage = r.Value, errors.Join(damage, err)
		}
	} else {
		s.readWire(m)
	}
	if m.ID == "" {
		m.ID = fmt.Sprintf("%d-%d", r.Partition, r.Offset)
	}
	if m.Source == "" {
		m.Source = foreignSource + topic
	}
	if damage != nil {
		d.Unreadable = damage.Error()
		setAttribute(m, "unreadable", d.Unreadable)
		if m.Type == "" {
			m.Type = unreadableType
		}
	}
	if m.Type == "" {
		m.Type = topic
	}
	return d
}

// setHeader sets what a header says. Those that are no attributes are kept as such, when
// their names could be one.
func setHeader(m *driver.Message, h *kgo.RecordHeader, last *driver.Message) error {
	switch h.Key { // those that an event has as a rule, and that repeat
	case "ce_specversion":
		return nil
	case "ce_source":
		m.Source = shared(h.Value, last.Source)
		return nil
	case "ce_type":
		m.Type = shared(h.Value, last.Type)
		return nil
	case contentType:
		m.ContentType = shared(h.Value, last.ContentType)
		return nil
	}
	attribute, isCloud := strings.CutPrefix(h.Key, attrPrefix)
	if !isCloud && !isAttribute(h.Key) {
		return nil
	}
	return setAttribute(m, attribute, string(h.Value))
}

// shared is the text of b, which may be that of former.
func shared(b []byte, former string) string {
	if string(b) == former { // which allocates nothing
		return former
	}
	return string(b)
}

// isAttribute reports whether CloudEvents allows an attribute of the name.
func isAttribute(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && !slices.Contains([]string{"id", "source", "type", "time", "data", "specversion"}, name)
}

// setAttribute sets one attribute.
func setAttribute(m *driver.Message, name, value string) (err error) {
	switch name {
	case "id":
		m.ID = value
	case "source":
		m.Source = value
	case "type":
		m.Type = value
	case attrContent:
		m.ContentType = value
	case attrVersion:
		if m.Version, err = strconv.Atoi(value); err != nil {
			m.Version, err = 1, fmt.Errorf("its typeversion is %q (want a number)", value)
		}
	case "time":
		if m.Time, err = time.Parse(time.RFC3339Nano, value); err != nil {
			err = fmt.Errorf("its time is %q (want RFC 3339)", value)
		}
	case "specversion":
	case attrKey:
		if m.Key == "" {
			m.Key = value
			return nil
		}
		fallthrough
	default:
		if m.Attributes == nil {
			m.Attributes = make(map[string]string)
		}
		m.Attributes[name] = value
	}
	return err
}

// readStructured reads an event of the JSON format.
func readStructured(m *driver.Message, text []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("it is no event in the JSON format of CloudEvents: %w", err)
	}
	m.Data = nil
	for _, name := range slices.Sorted(maps.Keys(all)) {
		value := all[name]
		var s string
		isText := json.Unmarshal(value, &s) == nil
		var err error
		switch {
		case name == "data_base64":
			m.Data, err = base64.StdEncoding.DecodeString(s)
		case name == "data":
			m.Data = value
		case isText:
			err = setAttribute(m, name, s)
		default:
			err = setAttribute(m, name, string(value))
		}
		if err != nil {
			return err
		}
	}
	var s string
	if media := strings.ToLower(m.ContentType); media != "" && !strings.Contains(media, "json") &&
		json.Unmarshal(m.Data, &s) == nil {
		m.Data = []byte(s)
	}
	return nil
}

// readWire takes the header of the Confluent wire format, a zero byte and the id of a
// schema, from data that has it: where this connection writes it, and before JSON, which
// never begins with a zero byte.
func (s *settings) readWire(m *driver.Message) {
	if len(m.Data) < wireHeader || m.Data[0] != 0 {
		return
	}
	id := binary.BigEndian.Uint32(m.Data[1:wireHeader])
	ours := s.schema > 0 && id == uint32(s.schema)
	if !ours {
		if !json.Valid(m.Data[wireHeader:]) {
			return
		}
		setAttribute(m, attrSchema, strconv.FormatUint(uint64(id), 10))
	}
	m.Data = m.Data[wireHeader:]
}
