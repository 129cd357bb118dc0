package deedmem_test

import (
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// benchmark opens a store with a topic of one partition that keeps nothing longer
// than it must.
func benchmark(b *testing.B) (*deedmem.Conn, driver.TopicInfo) {
	b.Helper()
	c, err := deedmem.Open(b.Context(), "mem:", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	info, err := c.CreateTopic(b.Context(), "orders", driver.TopicSettings{Partitions: 1, Keep: 1})
	if err != nil {
		b.Fatal(err)
	}
	return c, info
}

// BenchmarkEvent is the whole way of one event of 200 bytes: published in batches
// of 256, received and settled.
func BenchmarkEvent(b *testing.B) {
	c, info := benchmark(b)
	sub, err := c.Subscribe(b.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	ms := numbered(1, 256)
	for i := range ms {
		ms[i].Data = make([]byte, 200)
	}
	batches := []driver.Batch{{Topic: "orders", Generation: info.Generation, Messages: ms}}
	var epoch int64
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		if _, err := c.Publish(b.Context(), batches); err != nil {
			b.Fatal(err)
		}
		got, err := sub.Receive(b.Context(), driver.Fetch{Events: 1024, Bytes: 1 << 20})
		if err != nil {
			b.Fatal(err)
		}
		for _, claim := range got.Granted {
			epoch = claim.Epoch
		}
		done += len(got.Deliveries)
		last := got.Deliveries[len(got.Deliveries)-1].Position
		if _, err := sub.Settle(b.Context(), []driver.Settlement{{Epoch: epoch, Position: last}}); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Sweep(b.Context(), "orders"); err != nil {
			b.Fatal(err)
		}
	}
}
