package deedsql

import (
	"bytes"
	"fmt"
	"testing"
	"testing/iotest"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestPostgresCopied stores as many events at once as go by COPY, of all kinds of data,
// and as few as do not, and reads them as another process does.
func TestPostgresCopied(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	url := s.URL(s.Database(t))
	c := openURL(t, url)
	const topic = "copied"
	topicOf(t, c, topic, driver.TopicSettings{Partitions: 3})
	var want [3][]driver.Message
	for _, n := range []int{copyRows - 1, copyRows, 5 * copyRows} {
		var batches []driver.Batch
		for p := range want {
			b := driver.Batch{Topic: topic, Partition: p}
			for i := range n {
				m := driver.Message{
					ID: fmt.Sprintf("%d-%d-%d", n, p, i), Source: "/test", Type: "copied.kind", Key: fmt.Sprint("ключ ", i%7),
				}
				switch i % 5 {
				case 0: // no data
				case 1:
					m.Data = []byte{}
				case 2:
					m.Data = bytes.Repeat([]byte{0, 255, byte(i)}, 30_000) // over the bounds of messages
				default:
					m.Data = fmt.Appendf(nil, "event %d", i)
				}
				b.Messages = append(b.Messages, m)
			}
			batches = append(batches, b)
			want[p] = append(want[p], b.Messages...)
		}
		receipts, err := c.Publish(t.Context(), batches)
		if err != nil {
			t.Fatal(err)
		}
		for p, r := range receipts {
			if r.Err != nil || r.Stored != n || r.Last != driverkit.Position(int64(len(want[p]))) {
				t.Fatalf("%d events of partition %d: %+v", n, p, r)
			}
		}
	}
	other := openURL(t, url)
	for p := range want {
		got, err := other.Browse(t.Context(), driver.Page{Topic: topic, Partition: p, Limit: 2 * len(want[p])})
		if err != nil || len(got) != len(want[p]) {
			t.Fatalf("partition %d: %d events, %v; want %d", p, len(got), err, len(want[p]))
		}
		for i, w := range want[p] {
			if g := got[i]; g.ID != w.ID || g.Key != w.Key || !bytes.Equal(g.Data, w.Data) ||
				g.Position != driverkit.Position(int64(i+1)) {
				t.Fatalf("partition %d, event %d: %s %q, %d bytes at %s; want %s %q, %d bytes",
					p, i, g.ID, g.Key, len(g.Data), g.Position, w.ID, w.Key, len(w.Data))
			}
		}
	}
}

// TestLogReader reads rows in pieces of every size.
func TestLogReader(t *testing.T) {
	t.Parallel()
	b := &rowBuffer{
		metas: []byte("[1][22]"), ends: []int{3, 7}, datas: [][]byte{nil, []byte("data")},
		runs: []run{{place: place{5, 2}, position: 9, count: 2, stored: 77}},
	}
	rows := func() *logRows { return &logRows{b: b, totals: map[place]int64{{5, 2}: 100}} }
	want := "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x07" + big(5) + "\x00\x00\x00\x04\x00\x00\x00\x02" + big(9) + big(77) + big(100) +
		"\x00\x00\x00\x03[1]" + "\xff\xff\xff\xff" +
		"\x00\x07" + big(5) + "\x00\x00\x00\x04\x00\x00\x00\x02" + big(10) + big(77) + big(104) +
		"\x00\x00\x00\x04[22]" + "\x00\x00\x00\x04data" + "\xff\xff"
	if err := iotest.TestReader(newLogReader(rows()), []byte(want)); err != nil {
		t.Error(err)
	}
}

// big is a bigint of a row, with its length.
func big(n byte) string { return "\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00" + string([]byte{n}) }
