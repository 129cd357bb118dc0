package deedmem_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

func open(t *testing.T, url string) *deedmem.Conn {
	t.Helper()
	c, err := deedmem.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func create(t *testing.T, c *deedmem.Conn, name string, s driver.TopicSettings) driver.TopicInfo {
	t.Helper()
	info, err := c.CreateTopic(t.Context(), name, s)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func publish(t *testing.T, c *deedmem.Conn, b driver.Batch) driver.Receipt {
	t.Helper()
	rs, err := c.Publish(t.Context(), []driver.Batch{b})
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].Err != nil {
		t.Fatal(rs[0].Err)
	}
	return rs[0]
}

// numbered returns n messages whose ids count from first.
func numbered(first, n int) []driver.Message {
	ms := make([]driver.Message, n)
	for i := range ms {
		ms[i] = driver.Message{ID: strconv.Itoa(first + i), Source: "/test", Type: "tested", Version: 1, Data: []byte("x")}
	}
	return ms
}

func TestNamedStoresAreShared(t *testing.T) {
	a, b, other, own := open(t, "mem:shared"), open(t, "mem:shared"), open(t, "mem:other"), open(t, "mem:")
	create(t, a, "orders", driver.TopicSettings{})
	if _, err := b.Topic(t.Context(), "orders"); err != nil {
		t.Errorf("the other Conn of the name: %v", err)
	}
	for _, c := range []*deedmem.Conn{other, own} {
		if _, err := c.Topic(t.Context(), "orders"); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("another store: %v, want ErrNotFound", err)
		}
	}
}

func TestStoreEndsWithItsLastConn(t *testing.T) {
	a, b := open(t, "mem:ending"), open(t, "mem:ending")
	create(t, a, "orders", driver.TopicSettings{})
	closeAll(t, a, a)
	if _, err := b.Topic(t.Context(), "orders"); err != nil {
		t.Errorf("with a Conn left: %v", err)
	}
	closeAll(t, b)
	if _, err := open(t, "mem:ending").Topic(t.Context(), "orders"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("after the last Conn: %v, want ErrNotFound", err)
	}
}

func closeAll(t *testing.T, cs ...*deedmem.Conn) {
	t.Helper()
	for _, c := range cs {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefusesOtherURLs(t *testing.T) {
	for _, url := range []string{"", "memory:", "mem", "mem://host", "mem:a?b=c", "sqlite:a"} {
		if c, err := deedmem.Open(t.Context(), url, nil); !errors.Is(err, driver.ErrRefused) {
			t.Errorf("Open(%q) = %v, %v, want ErrRefused", url, c, err)
		}
	}
}

func TestRetentionWaitsForGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, "mem:")
		info := create(t, c, "orders", driver.TopicSettings{Partitions: 1, Keep: time.Hour})
		batch := driver.Batch{Topic: "orders", Generation: info.Generation, Messages: numbered(1, 200)}
		publish(t, c, batch)
		sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "slow", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		got := receive(t, sub, 200)
		time.Sleep(2 * time.Hour)
		batch.Messages = numbered(201, 1)
		publish(t, c, batch)
		sweep(t, c, 0)
		if n := stored(t, c); n != 201 {
			t.Errorf("%d events are left before the group handled any, want 201", n)
		}
		if _, err := sub.Settle(t.Context(), []driver.Settlement{
			{Epoch: got.Granted[0].Epoch, Position: "150"},
		}); err != nil {
			t.Fatal(err)
		}
		batch.Messages = numbered(202, 1)
		publish(t, c, batch)
		sweep(t, c, 150)
		if n := stored(t, c); n != 52 {
			t.Errorf("%d events are left after the group handled 150, want 52", n)
		}
		ds, err := c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 1})
		if err != nil || len(ds) != 1 || ds[0].ID != "151" {
			t.Errorf("the first left is %v, %v, want event 151", ds, err)
		}
	})
}

func TestHoldRemovesAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, "mem:")
		info := create(t, c, "orders", driver.TopicSettings{Partitions: 1, Keep: time.Hour, Hold: 3 * time.Hour})
		batch := driver.Batch{Topic: "orders", Generation: info.Generation, Messages: numbered(1, 70)}
		publish(t, c, batch)
		sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "slow", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Hour)
		batch.Messages = numbered(71, 1)
		publish(t, c, batch)
		sweep(t, c, 70)
		lags, err := c.Lag(t.Context(), "slow", "orders")
		if err != nil || lags[0].Events != 1 || lags[0].Status == "" {
			t.Errorf("lag is %+v, %v, want 1 event and a word about the 70 removed", lags, err)
		}
		if got := receive(t, sub, 1); got.Deliveries[0].ID != "71" {
			t.Errorf("the group goes on with %s, want 71", got.Deliveries[0].ID)
		}
	})
}

func sweep(t *testing.T, c *deedmem.Conn, want int64) {
	t.Helper()
	if n, err := c.Sweep(t.Context(), "orders"); err != nil || n != want {
		t.Errorf("Sweep removed %d, %v, want %d", n, err, want)
	}
}

func stored(t *testing.T, c *deedmem.Conn) int64 {
	t.Helper()
	info, err := c.Topic(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	return info.Events
}

// receive calls Receive until n events have come.
func receive(t *testing.T, sub driver.Subscription, n int) driver.Received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all driver.Received
	for len(all.Deliveries) < n {
		got, err := sub.Receive(ctx, driver.Fetch{Events: n, Bytes: 1 << 20})
		if err != nil {
			t.Fatalf("Receive after %d of %d: %v", len(all.Deliveries), n, err)
		}
		all.Granted = append(all.Granted, got.Granted...)
		all.Deliveries = append(all.Deliveries, got.Deliveries...)
	}
	return all
}
