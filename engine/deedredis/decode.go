package deedredis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// An entry of a log has two fields: d, the data, and m, the event's attributes in the
// JSON format of CloudEvents without data. Entries that others wrote may have each
// attribute as a field of its own instead.

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

// errNotReadable ends the reading of a partition, until somebody has removed the entry.
var errNotReadable = errors.New("the partition cannot be read on")

// deliveries appends the entry's events that come after a position.
func (e entry) deliveries(
	out []driver.Delivery, topic string, partition int, after position,
) ([]driver.Delivery, error) {
	at, err := parsePosition(e.id)
	if err != nil {
		return out, fmt.Errorf("%w: another program added the entry %s, whose id is no position (see XRANGE; to go on "+
			"without it, XDEL it, and XSETID the stream to the last one left)", errNotReadable, e.id)
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
	var damage error
	if sizes != "" {
		var all []driver.Delivery
		if all, damage = unpack(out, topic, partition, after, at, attributes, data, sizes); damage == nil {
			return all, nil
		}
	}
	out = append(out, driver.Delivery{Partition: partition, Position: e.id, Stored: at.stored()})
	d := &out[len(out)-1]
	if attributes == "" {
		damage = errors.Join(damage, e.foreign(&d.Message))
	} else {
		damage = errors.Join(damage, driverkit.ParseAttributes(attributes, &d.Message))
	}
	driverkit.Complete(d, engineName, topic, attributes, damage)
	d.Data = data
	return out, nil
}

// foreign reads an entry that another program wrote with an attribute in each field. It
// may leave all out but d.
func (e entry) foreign(m *driver.Message) (first error) {
	m.Version = 1
	for i := 0; i+1 < len(e.fields); i += 2 {
		name, _ := e.fields[i].ToString()
		value, _ := e.fields[i+1].ToString()
		if name == "d" || name == "l" {
			continue
		}
		if err := driverkit.SetAttribute(m, name, value); first == nil {
			first = err
		}
	}
	return first
}

// engineName is what events that do not say it are said to come from.
const engineName = "redis"

// unpack reads the events of a packed entry, whose number is the last one's.
func unpack(
	out []driver.Delivery, topic string, partition int, after, at position, attributes string, data []byte, sizes string,
) ([]driver.Delivery, error) {
	count := strings.Count(sizes, ",") + 1
	n := at.n - int64(count)
	if n < 0 {
		return out, errSizes
	}
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
		driverkit.Complete(&d, engineName, topic, line, driverkit.ParseAttributes(line, &d.Message))
		d.Data = body
		out = append(out, d)
	}
	return out, nil
}

var errSizes = errors.New("its sizes (l) are not those of its data")

func parseSize(text string, most int) (n int, err error) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > most {
			return 0, errSizes
		}
		n = 10*n + int(c-'0')
	}
	if text == "" || n > most {
		return 0, errSizes
	}
	return n, nil
}
