package deedredis

import (
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// entry is one entry of a stream as the client read it.
type entry struct {
	id     string
	fields []rueidis.RedisMessage // names and values in turn
}

// parseEntry reads [id, [name, value, …]].
func parseEntry(m *rueidis.RedisMessage) (e entry, err error) {
	pair, err := m.ToArray()
	if err != nil {
		return e, err
	}
	if len(pair) != 2 {
		return e, fmt.Errorf("an entry of %d parts", len(pair))
	}
	if e.id, err = pair[0].ToString(); err != nil {
		return e, err
	}
	if pair[1].IsNil() { // deleted under our feet
		return e, nil
	}
	e.fields, err = pair[1].ToArray()
	return e, err
}

// deliveries appends the entry's events that come after a position.
func (e entry) deliveries(
	out []driver.Delivery, topic string, partition int, after position,
) ([]driver.Delivery, error) {
	at, err := parsePosition(e.id)
	if err != nil {
		return out, err
	}
	var attributes, sizes string
	var data []byte
	for i := 0; i+1 < len(e.fields); i += 2 {
		name, _ := e.fields[i].ToString()
		switch name {
		case "m":
			attributes, _ = e.fields[i+1].ToString()
		case "d":
			data, _ = e.fields[i+1].AsBytes()
		case "l":
			sizes, _ = e.fields[i+1].ToString()
		}
	}
	if sizes != "" {
		return unpack(out, partition, after, at, attributes, data, sizes)
	}
	out = append(out, driver.Delivery{Partition: partition, Position: e.id, Stored: at.stored()})
	d := &out[len(out)-1]
	if attributes == "" {
		e.foreign(topic, &d.Message)
	} else if err := parseAttributes(attributes, &d.Message); err != nil {
		e.unreadable(&d.Message, err)
	} else {
		e.complete(topic, &d.Message)
	}
	d.Data = data
	return out, nil
}

// foreign reads an entry that another program wrote with an attribute in each field. It
// may leave all out but d.
func (e entry) foreign(topic string, m *driver.Message) {
	m.Version = 1
	for i := 0; i+1 < len(e.fields); i += 2 {
		name, _ := e.fields[i].ToString()
		value, _ := e.fields[i+1].ToString()
		if name == "d" {
			continue
		}
		if err := setAttribute(m, name, value); err != nil {
			e.unreadable(m, err)
			return
		}
	}
	e.complete(topic, m)
}

// complete fills in what makes an event one.
func (e entry) complete(topic string, m *driver.Message) {
	if m.ID == "" {
		m.ID = e.id
	}
	if m.Source == "" {
		m.Source = foreignSource + topic
	}
	if m.Type == "" {
		m.Type = topic
	}
}

const (
	// foreignSource, with the topic, is the source of an event that does not say.
	foreignSource = "/redis/"
	// unreadableType marks an entry that is no event. A group has no handler for it,
	// unless it handles all types, and lets it pass.
	unreadableType = "redis.unreadable"
)

// unreadable keeps an entry that cannot be read visible: with its own id, and the
// reason.
func (e entry) unreadable(m *driver.Message, cause error) {
	*m = driver.Message{
		ID: e.id, Source: foreignSource + "unreadable", Type: unreadableType, Version: 1,
		Attributes: map[string]string{"reason": cause.Error()},
	}
}

// unpack reads the events of a packed entry, whose number is the last one's.
func unpack(
	out []driver.Delivery, partition int, after, at position, attributes string, data []byte, sizes string,
) ([]driver.Delivery, error) {
	count := strings.Count(sizes, ",") + 1
	n := at.n - int64(count)
	for size := range strings.SplitSeq(sizes, ",") {
		length, err := parseSize(size, len(data))
		if err != nil {
			return out, err
		}
		line, rest, _ := strings.Cut(attributes, "\n")
		body := data[:length:length]
		attributes, data = rest, data[length:]
		n++
		here := position{at.ms, n}
		if here.compare(after) <= 0 {
			continue
		}
		d := driver.Delivery{Partition: partition, Position: here.String(), Stored: at.stored()}
		if err := parseAttributes(line, &d.Message); err != nil {
			entry{id: d.Position}.unreadable(&d.Message, err)
		}
		d.Data = body
		out = append(out, d)
	}
	return out, nil
}

func parseSize(text string, most int) (n int, err error) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > most {
			return 0, fmt.Errorf("%w: a packed entry's sizes cannot be read", driver.ErrRefused)
		}
		n = 10*n + int(c-'0')
	}
	if text == "" || n > most {
		return 0, fmt.Errorf("%w: a packed entry's sizes cannot be read", driver.ErrRefused)
	}
	return n, nil
}
