package deednats

import (
	"bytes"
	"sync"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/natstest"
)

// TestWritersContend lets several connections append to one partition at once.
func TestWritersContend(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	c := open(t, s.URL())
	if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 50
	var done sync.WaitGroup
	for w := range writers {
		other := open(t, s.URL())
		done.Go(func() {
			for i := range each {
				b := driver.Batch{Topic: "orders", Producer: string(rune('a' + w)), Seq: int64(i + 1), Messages: messages(i, 1)}
				rs, err := other.Publish(t.Context(), []driver.Batch{b})
				if err != nil || rs[0].Err != nil || rs[0].Stored != 1 {
					t.Errorf("writer %d, event %d: %+v, %v", w, i, rs, err)
				}
			}
		})
	}
	done.Wait()
	info, err := c.Topic(t.Context(), "orders")
	if err != nil || info.Events != writers*each || info.Bytes != 4*writers*each {
		t.Errorf("the topic has %d events of %d bytes, %v; want %d", info.Events, info.Bytes, err, writers*each)
	}
}

// TestLargeBatchIsWhole stores more at once than a message holds, and removes it.
func TestLargeBatchIsWhole(t *testing.T) {
	t.Parallel()
	for _, start := range []func(testing.TB, ...string) *natstest.Server{natstest.Start, natstest.StartOld} {
		c := open(t, start(t).URL())
		if _, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1, Keep: 1}); err != nil {
			t.Fatal(err)
		}
		want := messages(1, 5)
		for i := range want {
			want[i].Data = bytes.Repeat([]byte{byte(i)}, 700<<10)
		}
		for range 2 {
			if r := publish(t, c, driver.Batch{Topic: "orders", Messages: want}); r.Err != nil || r.Stored != 5 {
				t.Fatalf("%d stored, %v", r.Stored, r.Err)
			}
		}
		ds, err := c.Browse(t.Context(), driver.Page{Topic: "orders", After: "5", Limit: 10})
		if err != nil || len(ds) != 5 {
			t.Fatalf("%d events, %v; want 5", len(ds), err)
		}
		for i := range ds {
			if !bytes.Equal(ds[i].Data, want[i].Data) {
				t.Errorf("event %d came back with %d other bytes", i, len(ds[i].Data))
			}
		}
		if n, err := c.Sweep(t.Context(), "orders"); err != nil || n != 9 {
			t.Errorf("swept %d, %v; want 9", n, err)
		}
		ds, err = c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 10})
		if err != nil || len(ds) != 1 || !bytes.Equal(ds[0].Data, want[4].Data) {
			t.Errorf("%d events are left, %v; want the last", len(ds), err)
		}
		stream, err := c.js.Stream(t.Context(), c.names.log("orders"))
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Bytes; got > 4<<20 {
			t.Errorf("the stream has %d bytes yet, for 3.5 MB in its last message", got)
		}
	}
}

// TestForeignMessage lets another program publish to a partition.
func TestForeignMessage(t *testing.T) {
	t.Parallel()
	c := open(t, natstest.Start(t).URL())
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := join(t, c, "orders", patience)
	retry(t, c, driver.Batch{Topic: "orders", Messages: messages(1, 1)})
	m.take(1)
	ack, err := c.js.Publish(t.Context(), c.names.partition(life{"orders", info.Generation}, 0), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	stopped := func() (last error, changed bool) {
		for !changed {
			r, err := m.sub.Receive(t.Context(), driver.Fetch{Events: 10, Bytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range r.Deliveries {
				m.ids = append(m.ids, d.ID)
			}
			for _, s := range r.Stopped {
				last, changed = s.Err, true
			}
		}
		return last, changed
	}
	if err, _ := stopped(); err == nil {
		t.Error("the partition goes on over a message that is none of deed's")
	}
	if err := publish(t, c, driver.Batch{Topic: "orders", Messages: messages(2, 1)}).Err; err != nil {
		t.Logf("publishing meanwhile: %v", err) // it may know the end, or not
	}
	stream, err := c.js.Stream(t.Context(), c.names.log("orders"))
	if err == nil {
		err = stream.DeleteMsg(t.Context(), ack.Sequence)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err, _ := stopped(); err != nil {
		t.Errorf("the message is removed, and the partition stands still: %v", err)
	}
	retry(t, c, driver.Batch{Topic: "orders", Messages: messages(3, 1)})
	m.take(2)
	if got := m.ids[1]; got != "3" {
		t.Errorf("after the first event came %s, want 3", got)
	}
}
