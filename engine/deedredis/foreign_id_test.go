package deedredis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// Another program adds an entry whose id is no position. Its partition stops there, and
// says so wherever one looks; the others go on. Once the entry is gone the partition
// goes on by itself, with nothing lost.
func TestForeignIDStopsItsPartition(t *testing.T) {
	for _, id := range []string{
		"18446744073709551615-5", "9223372036854775808-0", "9007199254740992-1", "1700000000000-18446744073709551615",
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			c := open(t, s.URL())
			info, err := c.CreateTopic(t.Context(), "topic", driver.TopicSettings{Partitions: 2, Dedupe: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			last := strings.HasPrefix(id, "17") // deed's own fit behind it
			if last {
				command(t, s, "XADD", "deed:{topic:0}", "1600000000000-1", "d", "first")
			} else {
				publishOne(t, c, info, 0, "first")
			}
			command(t, s, "XADD", "deed:{topic:0}", id, "d", "foreign")
			sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "topic", Group: "group", Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			x := &stopScene{t: t, sub: sub}
			x.until("it has stopped", func() bool { return x.stopped != nil && len(x.data) == 1 })
			if !strings.Contains(x.stopped.Error(), id) {
				t.Errorf("stopped with %v, want the id %s", x.stopped, id)
			}
			publishOne(t, c, info, 1, "other")
			x.until("the other partition goes on", func() bool { return slices.Contains(x.data, "other") })
			if n := command(t, s, "XLEN", "deed:{topic:0}"); n != "2" {
				t.Errorf("%s entries in the log, want 2", n)
			}
			if !last {
				barred(t, c, info, id)
			}
			ends, err := c.Ends(t.Context(), "topic")
			if err != nil || ends[0] == "" || ends[0] == id {
				t.Errorf("the partition ends at %q, %v, want its last position", ends, err)
			}
			ds, err := c.Browse(t.Context(), driver.Page{Topic: "topic", Limit: 10})
			if err != nil || len(ds) != 1 {
				t.Errorf("browsing finds %d events, %v, want the first", len(ds), err)
			}

			command(t, s, "XDEL", "deed:{topic:0}", id)
			command(t, s, "XSETID", "deed:{topic:0}", ends[0])
			publishOne(t, c, info, 0, "barred") // whose first coming was not stored, window or not
			x.until("it goes on", func() bool { return slices.Contains(x.data, "barred") && x.stopped == nil })
			if want := []string{"first", "other", "barred"}; !slices.Equal(x.data, want) {
				t.Errorf("received %q, want %q", x.data, want)
			}
		})
	}
}

// barred wants publishing behind an id to fail, and the lag to name it.
func barred(t *testing.T, c *Conn, info driver.TopicInfo, id string) {
	t.Helper()
	err := tryOne(t, c, info, 0, "barred")
	if err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), driver.ErrNotStored.Error()) {
		t.Errorf("publishing behind it: %v, want not stored, and the id", err)
	}
	lags, err := c.Lag(t.Context(), "group", "topic")
	if err != nil || !strings.Contains(fmt.Sprint(lags), id) {
		t.Errorf("the lag is %+v, %v, want one that names %s", lags, err, id)
	}
	_, err = c.Subscribe(t.Context(), driver.SubscribeSpec{
		Topic: "topic", Group: "late", Lease: time.Minute, From: driver.From{End: true},
	})
	if err != nil {
		t.Errorf("a group that starts at the end: %v", err)
	}
}

// stopScene receives.
type stopScene struct {
	t       *testing.T
	sub     driver.Subscription
	data    []string
	stopped error
}

func (x *stopScene) until(what string, done func() bool) {
	x.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			x.t.Fatalf("%s: not within 30s: %q, %v", what, x.data, x.stopped)
		}
		r, err := x.sub.Receive(x.t.Context(), driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			x.t.Fatal(err)
		}
		for _, d := range r.Deliveries {
			x.data = append(x.data, string(d.Data))
		}
		for _, s := range r.Stopped {
			if s.Partition != 0 {
				x.t.Errorf("partition %d has stopped: %v", s.Partition, s.Err)
			}
			x.stopped = s.Err
		}
	}
}

func publishOne(t *testing.T, c *Conn, info driver.TopicInfo, partition int, data string) {
	t.Helper()
	if err := tryOne(t, c, info, partition, data); err != nil {
		t.Fatal(err)
	}
}

func tryOne(t *testing.T, c *Conn, info driver.TopicInfo, partition int, data string) error {
	t.Helper()
	rs, err := c.Publish(t.Context(), []driver.Batch{{
		Topic: info.Name, Partition: partition,
		Messages: []driver.Message{{ID: data, Source: "/test", Type: "t", Version: 1, Data: []byte(data)}},
	}})
	if err == nil {
		err = rs[0].Err
	}
	return err
}
