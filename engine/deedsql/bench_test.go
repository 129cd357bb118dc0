package deedsql

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// events returns batches of n events in all over the partitions of a topic.
func events(topic string, partitions, n int) []driver.Batch {
	data := make([]byte, 200)
	rand.Read(data)
	bs := make([]driver.Batch, partitions)
	for p := range bs {
		bs[p] = driver.Batch{Topic: topic, Partition: p}
	}
	now := time.Now()
	for i := range n {
		b := &bs[i%partitions]
		b.Messages = append(b.Messages, driver.Message{
			ID: "0198f7a2-7b1c-7cc3-98c4-" + fmt.Sprintf("%012d", i), Source: "/orders", Type: "orders.created", Version: 1,
			Key: "order-" + fmt.Sprint(i), Time: now, Data: data,
		})
	}
	return bs
}

// BenchmarkPublish measures stored events a second with 4 callers.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := open(b, filepath.Join(b.TempDir(), "a.db"))
			if _, err := c.CreateTopic(b.Context(), "orders", driver.TopicSettings{}); err != nil {
				b.Fatal(err)
			}
			bs := events("orders", min(16, size), size)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range b.N {
						if _, err := c.Publish(b.Context(), bs); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(4*b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkReceive measures events a second that one subscription reads.
func BenchmarkReceive(b *testing.B) {
	c := open(b, filepath.Join(b.TempDir(), "a.db"))
	if _, err := c.CreateTopic(b.Context(), "orders", driver.TopicSettings{}); err != nil {
		b.Fatal(err)
	}
	bs := events("orders", 16, 1024)
	for stored := 0; stored < b.N; stored += 1024 {
		if _, err := c.Publish(b.Context(), bs); err != nil {
			b.Fatal(err)
		}
	}
	s, err := c.Subscribe(b.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	b.ResetTimer()
	for got := 0; got < b.N; {
		r, err := s.Receive(ctx, driver.Fetch{Events: 1024, Bytes: 8 << 20})
		if err != nil {
			b.Fatal(err)
		}
		got += len(r.Deliveries)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
