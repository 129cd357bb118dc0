package deedsql

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// oddMessages have what is hard to write and to read.
func oddMessages() []driver.Message {
	when := time.Now()
	return []driver.Message{
		{ID: "1", Source: "/orders", Type: "orders.created", Version: 1, Key: "k", Time: when, Data: []byte("{}")},
		{ID: `"2"\`, Source: "/a,b]", Type: "x\ny", Version: -2, Key: "клю\u2028ч", ContentType: "text/plain"},
		{ID: "3", Source: "/s", Type: "t", Version: 1, Key: "[1]", Time: when.In(time.FixedZone("x", 3600)),
			Attributes: map[string]string{"subject": `a"b`, "empty": ""}, Data: []byte{0, 1}},
		{ID: "4", Source: "/s", Type: "t", Version: 1, Time: time.Date(1, 2, 3, 4, 5, 6, 7, time.UTC),
			Attributes: map[string]string{"a": "{}"}},
		{ID: "5", Source: "/s", Type: "t", Version: 1, Time: time.Date(1900, 1, 1, 0, 0, 0, 1, time.UTC), Data: []byte("x")},
	}
}

// TestMeta writes and reads what stands beside the data, with and without a kind.
func TestMeta(t *testing.T) {
	for _, m := range oddMessages() {
		for number := range int64(2) {
			text := string(appendMeta(nil, &m, number))
			var got driver.Message
			read, err := parseMeta(text, &got)
			if err != nil || read != number {
				t.Fatalf("%s: kind %d, %v", text, read, err)
			}
			want := m
			want.Data, want.Time, got.Time = nil, time.Time{}, time.Time{}
			if number > 0 {
				want.Source, want.Type, want.Version, want.ContentType = "", "", 0, ""
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", text, got, want)
			}
			for cut := range text {
				if _, err := parseMeta(text[:cut], &got); err == nil {
					t.Errorf("%q is read without an error", text[:cut])
				}
			}
		}
	}
}

// TestTailIsTheFile compares what a connection gives out from memory with what
// another reads from the file, and checks that groups do not share memory.
func TestTailIsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	here, there := open(t, path), open(t, path)
	topicOf(t, here, "orders", driver.TopicSettings{Partitions: 1})
	first, second := subscribe(t, here, "orders", "a", 10*time.Second), subscribe(t, here, "orders", "b", 10*time.Second)
	other := subscribe(t, there, "orders", "c", 10*time.Second)
	for _, s := range []driver.Subscription{first, second, other} {
		if r := receive(t, s); len(r.Granted) != 1 {
			t.Fatalf("first came %+v, want the partition", r)
		}
	}
	if _, err := here.Publish(t.Context(), []driver.Batch{{Topic: "orders", Messages: oddMessages()}}); err != nil {
		t.Fatal(err)
	}
	if got, full := here.tail.read(logQuery{topic: 1, limit: 100, room: 1 << 20}, nil); len(got) != 5 || full {
		t.Fatalf("%d events are in memory, want 5", len(got))
	}
	kept := receive(t, first).Deliveries
	for _, d := range kept {
		clear(d.Data)
		clear(d.Attributes)
	}
	kept, read := receive(t, second).Deliveries, receive(t, other).Deliveries
	if !reflect.DeepEqual(kept, read) {
		t.Errorf("from memory\n%+v\nfrom the file\n%+v", kept, read)
	}
}

// TestTailBesideOthers checks that events of other connections are found, in order,
// while a connection gives out its own from memory.
func TestTailBesideOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	here, there := open(t, path), open(t, path)
	topicOf(t, here, "orders", driver.TopicSettings{Partitions: 2})
	s := subscribe(t, here, "orders", "a", 10*time.Second)
	for granted := 0; granted < 2; {
		granted += len(receive(t, s).Granted)
	}
	const rounds, each = 50, 3
	next := map[int]int64{0: 1, 1: 1}
	for i := range rounds {
		publish(t, here, "orders", i%2, each)
		publish(t, there, "orders", i/2%2, each)
		publish(t, here, "orders", i/4%2, each)
		for left := 3 * each; left > 0; {
			for _, d := range receive(t, s).Deliveries {
				if d.Position != driverkit.Position(next[d.Partition]) {
					t.Fatalf("round %d: partition %d position %s came, want %d", i, d.Partition, d.Position, next[d.Partition])
				}
				next[d.Partition]++
				left--
			}
		}
	}
}

// TestTailBound checks that the oldest events go, and that those that went are read
// from the file.
func TestTailBound(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	s := subscribe(t, c, "orders", "a", 10*time.Second)
	receive(t, s)
	const batches, each, size = 6, 60, 40 << 10
	for range batches {
		b := events("orders", 1, each)
		for i := range b[0].Messages {
			b[0].Messages[i].Data = make([]byte, size)
		}
		if _, err := c.Publish(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	c.tail.mu.Lock()
	bytes, blocks := c.tail.bytes, len(c.tail.order)
	c.tail.mu.Unlock()
	if bytes > tailBytes || blocks == 0 || blocks == batches {
		t.Errorf("%d blocks of %d bytes are kept, want some and at most %d bytes", blocks, bytes, tailBytes)
	}
	for n := int64(0); n < batches*each; {
		for _, d := range receive(t, s).Deliveries {
			if n++; d.Position != driverkit.Position(n) {
				t.Fatalf("position %s came, want %d", d.Position, n)
			}
		}
	}
}

// TestManyKinds stores more kinds than are numbered.
func TestManyKinds(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	const n = maxKinds + 10
	b := events("orders", 1, n)
	for i := range b[0].Messages {
		b[0].Messages[i].Source = fmt.Sprint("/", i)
	}
	if _, err := c.Publish(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	got, err := c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: n})
	if err != nil || len(got) != n {
		t.Fatalf("%d events, %v, want %d", len(got), err, n)
	}
	for i, d := range got {
		if d.Source != fmt.Sprint("/", i) || d.Type != "orders.created" || d.Version != 1 {
			t.Fatalf("event %d is %+v", i, d.Message)
		}
	}
	var kinds, named int
	err = c.db.QueryRow("SELECT (SELECT count(*) FROM deed_kind), count(*) FROM deed_event "+
		"WHERE source = '/' || (position - 1) AND type = 'orders.created' AND version = 1").Scan(&kinds, &named)
	if err != nil || kinds != maxKinds || named != n {
		t.Errorf("%d kinds, %d events that the view names rightly, %v", kinds, named, err)
	}
}
