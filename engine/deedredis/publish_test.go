package deedredis

import (
	"errors"
	"fmt"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// Batches that one script appends fail each for itself: a partition that is broken, gone
// or behind takes nothing from the others, and the script appends what is sound.
func TestBatchesOfOneScript(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	conn, err := Open(t.Context(), s.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	const partitions = 5
	info, err := conn.CreateTopic(t.Context(), "topic", driver.TopicSettings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	const wrongType, noStream, noMarker, gap = 0, 1, 2, 3
	batches := func(seq int64) []driver.Batch {
		all := make([]driver.Batch, partitions)
		for p := range all {
			all[p] = driver.Batch{
				Topic: info.Name, Generation: info.Generation, Partition: p, Producer: "producer", Seq: seq,
				Messages: []driver.Message{{ID: fmt.Sprint(p), Source: "/s", Type: "t", Version: 1}},
			}
		}
		return all
	}
	for p, r := range publishAll(t, conn, batches(1)) {
		if r.Err != nil || r.Stored != 1 {
			t.Fatalf("partition %d: stored %d, %v", p, r.Stored, r.Err)
		}
	}
	b := conn.client.B()
	log := func(p int) string { return conn.keys.log(info.Name, p) }
	for _, cmd := range []func() error{
		func() error { return conn.client.Do(t.Context(), b.Del().Key(log(wrongType)).Build()).Error() },
		func() error {
			return conn.client.Do(t.Context(), b.Set().Key(log(wrongType)).Value("x").Build()).Error()
		},
		func() error { return conn.client.Do(t.Context(), b.Del().Key(log(noStream)).Build()).Error() },
		func() error { return conn.client.Do(t.Context(), b.Del().Key(log(noMarker)+":meta").Build()).Error() },
	} {
		if err := cmd(); err != nil {
			t.Fatal(err)
		}
	}
	next := batches(2)
	next[gap].Seq = 4
	want := []error{driver.ErrRefused, driver.ErrLost, driver.ErrLost, driver.ErrGap, nil}
	for p, r := range publishAll(t, conn, next) {
		if !errors.Is(r.Err, want[p]) || r.Err == nil && r.Stored != 1 {
			t.Errorf("partition %d: stored %d, %v, want %v", p, r.Stored, r.Err, want[p])
		}
	}
}

func publishAll(t *testing.T, conn *Conn, batches []driver.Batch) []driver.Receipt {
	t.Helper()
	all := newAppending(conn)
	for i := range batches {
		if err := all.add(t.Context(), i, &batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	if len(all.calls) != 1 {
		t.Fatalf("%d scripts, which proves nothing", len(all.calls))
	}
	receipts, err := conn.Publish(t.Context(), batches)
	if err != nil {
		t.Fatal(err)
	}
	return receipts
}
