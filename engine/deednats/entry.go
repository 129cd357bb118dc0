package deednats

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// A message of a partition holds the events of one batch. Its header says where they end;
// its data is, for each event, the attributes in the JSON format of CloudEvents and the
// data, each after its length as a varint.

// Where that is larger than the server takes in one message, it is in several under another
// subject, stored before, and the header says which.

// headerName is the header that a message of deed's has.
const headerName = "Deed"

// stamp is what the header says: "1 42 8400 3 17 =producer", and
// " 101,102" behind that.
type stamp struct {
	last     int64  // position of the last event here, or before here when there is none
	bytes    int64  // of data up to here, all that there ever was
	count    int64  // events here
	seq      int64  // of the producer's last event up to here
	producer string // "" for none
	large    []uint64
}

// errForeign ends the reading and writing of a partition, until somebody has removed the
// message.
var errForeign = errors.New("another program published to the partition")

func (s *stamp) String() string {
	text := fmt.Sprintf("%d %d %d %d %d =%s", formatVersion, s.last, s.bytes, s.count, s.seq, url.QueryEscape(s.producer))
	for i, seq := range s.large {
		text += string(" ,"[min(i, 1)]) + strconv.FormatUint(seq, 10)
	}
	return text
}

// parseStamp reads the header of a message.
func parseStamp(m *message) (s stamp, err error) {
	text := m.header.Get(headerName)
	fields := strings.Split(text, " ")
	if len(fields) < 6 || len(fields) > 7 {
		return s, foreign(m, fmt.Sprintf("its header %s is %q", headerName, text))
	}
	if fields[0] != strconv.Itoa(formatVersion) {
		return s, fmt.Errorf("%w: message %d of %s is in format %s, this version knows %d (update deed)",
			driver.ErrRefused, m.seq, m.subject, fields[0], formatVersion)
	}
	var errs []error
	for i, to := range []*int64{&s.last, &s.bytes, &s.count, &s.seq} {
		n, err := strconv.ParseUint(fields[i+1], 10, 63)
		*to, errs = int64(n), append(errs, err)
	}
	s.producer, err = url.QueryUnescape(strings.TrimPrefix(fields[5], "="))
	errs = append(errs, err)
	if len(fields) == 7 {
		for part := range strings.SplitSeq(fields[6], ",") {
			seq, err := strconv.ParseUint(part, 10, 64)
			s.large, errs = append(s.large, seq), append(errs, err)
		}
	}
	if errors.Join(errs...) != nil || s.count > s.last {
		return s, foreign(m, fmt.Sprintf("its header %s is %q", headerName, text))
	}
	return s, nil
}

func foreign(m *message, why string) error {
	return fmt.Errorf("%w: message %d of %s is none of deed's: %s (see it with `nats stream get`, and remove it with "+
		"`nats stream rmm`; publish through deed)", errForeign, m.seq, m.subject, why)
}

// appendEvent writes an event.
func appendEvent(b, scratch []byte, m *driver.Message) (out, used []byte) {
	scratch = driverkit.AppendAttributes(scratch[:0], m)
	b = binary.AppendUvarint(b, uint64(len(scratch)))
	b = append(b, scratch...)
	b = binary.AppendUvarint(b, uint64(len(m.Data)))
	return append(b, m.Data...), scratch
}

// events reads the events of a message that come after a position, as deliveries.
func (c *Conn) events(
	ctx context.Context, t *topic, m *message, s *stamp, partition int, after int64,
) (ds []driver.Delivery, err error) {
	if s.large != nil && after < s.last {
		if m.data, err = c.readBlob(ctx, t.log, s.large); err != nil {
			return nil, err
		}
	}
	return decode(m, s, partition, after)
}

func decode(m *message, s *stamp, partition int, after int64) ([]driver.Delivery, error) {
	first := s.last - s.count + 1
	out := make([]driver.Delivery, 0, max(0, s.last-max(after, first-1)))
	rest := m.data
	for pos := first; pos <= s.last; pos++ {
		var attributes, data []byte
		var ok bool
		if attributes, rest, ok = cut(rest); ok {
			data, rest, ok = cut(rest)
		}
		if !ok {
			return out, foreign(m, fmt.Sprintf("event %d of %d is not whole", pos-first+1, s.count))
		}
		if pos <= after {
			continue
		}
		d := driver.Delivery{Partition: partition, Position: strconv.FormatInt(pos, 10), Stored: m.time}
		if err := driverkit.ParseAttributes(string(attributes), &d.Message); err != nil {
			d.Unreadable = err.Error()
		}
		d.Data = data[:len(data):len(data)]
		out = append(out, d)
	}
	return out, nil
}

// cut takes what is behind its length.
func cut(b []byte) (part, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}

// newMessage makes a message of deed's.
func newMessage(subject string, s stamp, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{headerName: {s.String()}}, Data: data}
}

// timeOf is a time of a document or journal, which have microseconds; 0 is none.
func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
