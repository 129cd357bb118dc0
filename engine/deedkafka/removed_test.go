package deedkafka_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
)

// What Kafka removes before a group has handled it is gone, but not silently: it is
// counted, once. A group that is sent back to the beginning has missed nothing.
func TestRemovedUnhandled(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := open(t, "kafka://"+cluster.ListenAddrs()[0])
	info := topicOf(t, c, "orders", 1)
	publish := func(from, to int) {
		t.Helper()
		for n := from; n <= to; n++ {
			if rs, err := c.Publish(t.Context(), one(info, event(n))); err != nil || rs[0].Err != nil {
				t.Fatal(err, rs)
			}
		}
	}
	join := func() *reading {
		t.Helper()
		sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return &reading{t: t, sub: sub, seen: make(map[string]bool)}
	}
	removed := func(want int64, status string) {
		t.Helper()
		groups, err := c.Groups(t.Context())
		if err != nil || len(groups) != 1 || groups[0].Dropped != want {
			t.Errorf("groups are %+v, %v; want one that has missed %d", groups, err, want)
		}
		lags, err := c.Lag(t.Context(), "g", "orders")
		if err != nil || len(lags) != 1 || !strings.Contains(lags[0].Status, status) {
			t.Errorf("lag is %+v, %v; want status %q", lags, err, status)
		}
	}

	publish(1, 2)
	g := join()
	g.until(func() bool { return g.seen["1"] && g.seen["2"] })
	if err := g.sub.Close(); err != nil {
		t.Fatal(err)
	}
	publish(3, 10)
	cut(t, cluster.ListenAddrs()[0], 6)
	removed(0, "4 unhandled events were removed") // nobody has met it, and yet it shows
	g = join()
	g.until(func() bool { return g.seen["10"] })
	for _, n := range []string{"3", "6"} {
		if g.seen[n] {
			t.Errorf("event %s was removed, and is there", n)
		}
	}
	if !g.seen["7"] {
		t.Error("event 7 was not removed, and is not there")
	}
	removed(4, "4 unhandled events were removed")

	if err := c.ResetGroup(t.Context(), "g", "orders", driver.Reset{Fence: true}); err != nil {
		t.Fatal(err)
	}
	clear(g.seen)
	g.until(func() bool { return g.seen["7"] && g.seen["10"] })
	removed(4, "4 unhandled events were removed")
}

// A user who may not read is told so, and not left waiting.
func TestMayNotRead(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := open(t, "kafka://"+cluster.ListenAddrs()[0])
	topicOf(t, c, "orders", 1)
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, rt := range req.(*kmsg.FetchRequest).Topics {
			st := kmsg.NewFetchResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewFetchResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.TopicAuthorizationFailed.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err == nil {
		_, err = sub.Receive(ctx, driver.Fetch{Events: 1, Bytes: 1})
	}
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "read g on orders") {
		t.Errorf("Receive says %v, want that the user may not read", err)
	}
}

// cut removes what is before an offset, as retention does.
func cut(t *testing.T, addr string, offset int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offsets := make(kadm.Offsets)
	offsets.AddOffset("orders", 0, offset, -1)
	said, err := kadm.NewClient(client).DeleteRecords(t.Context(), offsets)
	if err != nil || said.Error() != nil {
		t.Fatal(err, said.Error())
	}
}
