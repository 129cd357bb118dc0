package drivertest

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/deedgo/deed/driver"
)

var orderChecks = []Check{
	{
		Name:    "positions-are-text",
		Promise: "A position is short, printable text without space and comma, and the same for every group.",
		Why:     "Cursors have commas between positions, and people paste them from logs into commands.",
		Needs:   needs(groups),
		Run:     checkPositions,
	},
	{
		Name:    "order-of-a-key",
		Promise: "Events of one key come in the order in which they were published.",
		Why:     "\"Cancelled\" before \"created\" is a wrong answer for ever.",
		Needs:   needs(groups, keyOrder),
		Run:     checkOrderOfKey,
	},
	{
		Name:    "order-of-batches",
		Promise: "Batches of one partition in one call are stored in slice order, and messages of a batch too.",
		Why:     "A publisher cuts its queue into batches; the cuts must not show.",
		Needs:   needs(groups, keyOrder),
		Run: func(t T, e *Env) {
			info := e.topic(driver.TopicSettings{Partitions: 2})
			var bs []driver.Batch
			for i := range 40 {
				bs = append(bs, batch(info, i%2, numbered(i*3+1, 3)...))
			}
			e.publish(e.conn, bs...)
			e.wantAscending(e.join(e.conn, info.Name, "group").take(120), 2)
		},
	},
	{
		Name:    "order-in-small-bites",
		Promise: "However little is fetched at a time, each partition comes in order and without gaps.",
		Why:     "Order has to hold under load, when room is scarce.",
		Needs:   needs(groups, keyOrder),
		Run: func(t T, e *Env) {
			info := e.topic(driver.TopicSettings{Partitions: 3})
			for i := range 30 {
				e.publish(e.conn, batch(info, i%3, numbered(i*2+1, 2)...))
			}
			m := e.join(e.open(), info.Name, "group")
			n := 0
			e.until("60 events", func() bool {
				n++
				m.receive(driver.Fetch{Events: n%4 + 1, Bytes: roomyBytes, Full: []int{n % 3}}, turn)
				return len(m.got) == 60
			})
			e.wantAscending(m.got, 3)
		},
	},
}

// maxPosition is how long a position may be, in bytes.
const maxPosition = 64

// flawOf returns why a position cannot be a part of a cursor, or "".
func flawOf(position string) string {
	for _, c := range []byte(position) {
		if c <= ' ' || c > '~' || c == ',' {
			return "want printable ASCII without space and comma"
		}
	}
	if len(position) > maxPosition {
		return fmt.Sprintf("want at most %d bytes", maxPosition)
	}
	return ""
}

func checkPositions(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	groups := []*member{e.join(e.conn, info.Name, "one"), e.join(e.conn, info.Name, "another")}
	var last []string
	for i := range 5 {
		last = append(last, e.publish(e.conn, batch(info, 0, numbered(i*2, 2)...))[0].Last)
	}
	var at [2][]string // by group; that each can be read, member.receive checks
	for i, m := range groups {
		for _, d := range m.take(10) {
			at[i] = append(at[i], d.Position)
		}
	}
	if !slices.Equal(at[0], at[1]) {
		t.Errorf("one group gets positions %q, another %q", at[0], at[1])
	}
	for i, p := range last {
		if want := at[0][2*i+1]; p != "" && p != want {
			t.Errorf("the receipt of batch %d ends at %q, its last event is at %q", i, p, want)
		}
	}
}

func checkOrderOfKey(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 4})
	conns := []driver.Conn{e.conn, e.open()}
	m := e.join(e.open(), info.Name, "group")
	const rounds, keys = 20, 10
	for round := range rounds {
		var bs []driver.Batch
		for k := range keys {
			key := fmt.Sprintf("key-%d", k)
			bs = append(bs, batch(info, driver.PartitionOf(key, 4), message(fmt.Sprintf("%s/%d", key, round), key)))
		}
		e.publish(conns[round%2], bs...) // one after the other, over either connection
	}
	m.take(rounds * keys)
	next := make(map[string]int)
	for _, d := range m.got {
		if want := fmt.Sprintf("%s/%d", d.Key, next[d.Key]); d.ID != want {
			t.Errorf("key %s: event %s came, want %s", d.Key, d.ID, want)
		}
		next[d.Key]++
	}
}

// wantAscending checks that the ids of each partition ascend.
func (e *Env) wantAscending(ds []driver.Delivery, partitions int) {
	e.t.Helper()
	for p := range partitions {
		var ns []int
		for _, d := range ds {
			if n, err := strconv.Atoi(d.ID); err == nil && d.Partition == p {
				ns = append(ns, n)
			}
		}
		if !slices.IsSorted(ns) {
			e.t.Errorf("partition %d came as %v, want it ascending", p, ns)
		}
	}
}
