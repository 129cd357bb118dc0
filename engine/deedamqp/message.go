package deedamqp

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// A message is an event in the binary mode of CloudEvents' AMQP binding: its attributes are
// headers with a prefix, its data is the body. Where they are too large for the one frame
// that the protocol has for headers, it is in the structured mode.

const (
	attrPrefix  = "cloudEvents_"
	otherPrefix = "cloudEvents:" // which the binding has as well
	atHeader    = "deed-at"
	structured  = "application/cloudevents+json"
	maxHeaders  = 100 << 10 // bytes; a frame has 128 KiB
	maxShort    = 255       // bytes of a text among the properties
	maxAt       = 1 << 62   // later than anybody publishes
)

// publishing writes a message that is published at a time.
func publishing(m *driver.Message, at int64) amqp.Publishing {
	p := amqp.Publishing{
		DeliveryMode: amqp.Persistent, Timestamp: time.Unix(0, at), Body: m.Data,
		MessageId: short(m.ID), Type: short(m.Type), ContentType: short(m.ContentType),
	}
	h := make(amqp.Table, 6+len(m.Attributes))
	size := 0
	add := func(name, value string) {
		h[attrPrefix+name] = value
		size += len(attrPrefix) + len(name) + len(value) + 8
	}
	add("specversion", "1.0")
	add("id", m.ID)
	add("source", m.Source)
	add("type", m.Type)
	if m.Version != 1 {
		add("typeversion", strconv.Itoa(m.Version))
	}
	if m.Key != "" {
		add("partitionkey", m.Key)
	}
	if !m.Time.IsZero() {
		add("time", m.Time.UTC().Format(time.RFC3339Nano))
	}
	if p.ContentType != m.ContentType {
		add("datacontenttype", m.ContentType)
	}
	long := false
	for name, value := range m.Attributes {
		add(name, value)
		long = long || len(attrPrefix)+len(name) > maxShort
	}
	if long || size > maxHeaders {
		h, p.ContentType, p.Body = amqp.Table{}, structured, driverkit.AppendDocument(nil, m)
	}
	h[atHeader] = at
	p.Headers = h
	return p
}

// short is a text that a property has room for.
func short(s string) string {
	if len(s) > maxShort {
		return ""
	}
	return s
}

// at returns when a message was published, 0 when it does not say.
func at(headers amqp.Table) int64 {
	n, ok := headers[atHeader].(int64)
	if !ok || n < 0 || n > maxAt {
		return 0
	}
	return n
}

// delivery reads a message, whoever wrote it. One that does not say when it was published is
// of another time.
func delivery(r *amqp.Delivery, topic string, partition int, position string, other time.Time) driver.Delivery {
	d := driver.Delivery{Partition: partition, Position: position, Stored: r.Timestamp.UTC()}
	if n := at(r.Headers); n > 0 {
		d.Stored = time.Unix(0, n).UTC()
	} else if r.Timestamp.IsZero() {
		d.Stored = other.UTC()
	}
	m := &d.Message
	var damage error
	if strings.HasPrefix(strings.ToLower(r.ContentType), structured) {
		damage = driverkit.ReadDocument(string(r.Body), m)
	} else {
		*m = driver.Message{Version: 1, ContentType: r.ContentType, Data: r.Body}
		damage = readHeaders(m, r.Headers)
	}
	if m.ID == "" {
		m.ID = r.MessageId
	}
	if m.Type == "" && damage == nil {
		m.Type = r.Type
	}
	driverkit.Complete(&d, engineName, topic, "", damage)
	return d
}

// readHeaders sets the attributes that a message has as headers.
func readHeaders(m *driver.Message, headers amqp.Table) (damage error) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		attribute, ok := strings.CutPrefix(name, attrPrefix)
		if !ok {
			if attribute, ok = strings.CutPrefix(name, otherPrefix); !ok {
				continue
			}
		}
		text, err := attributeText(headers[name])
		if err == nil {
			err = driverkit.SetAttribute(m, attribute, text)
		}
		if err != nil && damage == nil {
			damage = fmt.Errorf("header %s: %w", name, err)
		}
	}
	return damage
}

// attributeText is a value of a header as CloudEvents writes it.
func attributeText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case bool, int8, int16, int32, int64, uint8, uint16, uint32, float32, float64:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("it is %T (want a text, number, boolean or time)", v)
}

var seed = maphash.MakeSeed()

// sameAs is what a message that comes again is known by, in this process.
func sameAs(r *amqp.Delivery) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(r.MessageId)
	h.WriteString(strconv.FormatInt(at(r.Headers), 10))
	if at(r.Headers) == 0 {
		h.Write(r.Body)
	}
	return h.Sum64()
}
