package deedmem_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed/driver"
)

func TestDelayOfAWeekHoldsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, "mem:")
		info := create(t, c, "orders", driver.TopicSettings{Partitions: 1})
		const week = 7 * 24 * time.Hour
		due := time.Now().Add(week)
		ms := numbered(1, 2)
		ms[0].NotBefore = due
		publish(t, c, driver.Batch{Topic: "orders", Generation: info.Generation, Messages: ms})
		sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got := receive(t, sub, 1).Deliveries[0]; got.ID != "2" {
			t.Errorf("first came %s, want 2", got.ID)
		}
		time.Sleep(week - time.Second)
		if got := receive(t, sub, 1).Deliveries[0]; got.ID != "1" || !time.Now().Equal(due) {
			t.Errorf("%s came at %v, want 1 at %v", got.ID, time.Now(), due)
		}
	})
}

// TestManyDueAtOnce has far more events due in one second than one step of the timer
// stores, with others published meanwhile.
func TestManyDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, "mem:")
		info := create(t, c, "orders", driver.TopicSettings{Partitions: 1})
		const batches, size = 50, 1000
		first := time.Now().Add(time.Hour)
		for b := range batches {
			ms := numbered(b*size, size)
			for i := range ms {
				slot := (b*size + i) * 7919 % (batches * size)
				ms[i].NotBefore = first.Add(time.Duration(slot) * time.Second / (batches * size))
				ms[i].ID = strconv.Itoa(slot)
			}
			publish(t, c, driver.Batch{Topic: "orders", Generation: info.Generation, Messages: ms})
		}
		sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Second)
		for i, d := range receive(t, sub, batches*size).Deliveries {
			if d.ID != strconv.Itoa(i) || d.Position != strconv.Itoa(i+1) {
				t.Fatalf("number %d is event %s at position %s", i, d.ID, d.Position)
			}
		}
	})
}

// BenchmarkDelayed is the whole way of an event that was delayed until it is stored.
func BenchmarkDelayed(b *testing.B) {
	c, info := benchmark(b)
	sub, err := c.Subscribe(b.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	ms := numbered(1, 256)
	b.ReportAllocs()
	b.ResetTimer()
	due := time.Now().Add(10 * time.Millisecond)
	for n := 0; n < b.N; n += len(ms) {
		for i := range ms {
			ms[i].NotBefore = due.Add(time.Duration(i*7919%1000) * time.Microsecond)
		}
		batches := []driver.Batch{{Topic: "orders", Generation: info.Generation, Messages: ms}}
		if _, err := c.Publish(b.Context(), batches); err != nil {
			b.Fatal(err)
		}
	}
	for done := 0; done < b.N; {
		got, err := sub.Receive(b.Context(), driver.Fetch{Events: 1024, Bytes: 1 << 20})
		if err != nil {
			b.Fatal(err)
		}
		done += len(got.Deliveries)
	}
}
