package deedsql

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

const crashEvents = 6000 // some transactions of the mover

// workMove delays events to one moment, moves them when they are due, and tells of
// each fetch.
func workMove(ctx context.Context, c *Conn) error {
	bs := events("orders", 2, crashEvents)
	due := time.Now().Add(200 * time.Millisecond)
	for p := range bs {
		for i := range bs[p].Messages {
			bs[p].Messages[i].NotBefore = due
		}
	}
	if _, err := c.Publish(ctx, bs); err != nil {
		return err
	}
	s, err := c.Subscribe(ctx, driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
	if err != nil {
		return err
	}
	for {
		r, err := s.Receive(ctx, driver.Fetch{Events: 100, Bytes: 1 << 20})
		if err != nil {
			return nil
		}
		fmt.Println(len(r.Deliveries))
	}
}

// TestCrashWhileMoving kills the process that moves delayed events to the log: the
// next one moves the rest, each once and in order.
func TestCrashWhileMoving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := open(t, path)
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	w := start(t, "move", "sqlite:"+path)
	for w.lines.Scan() && w.lines.Text() == "0" { // until the first has come
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	w.end()
	i := info(t, c, "orders")
	t.Logf("%d of %d had been moved", i.Events, crashEvents)
	if i.Events+i.Scheduled != crashEvents {
		t.Errorf("%d events and %d scheduled make %d, want %d", i.Events, i.Scheduled, i.Events+i.Scheduled, crashEvents)
	}
	s := subscribe(t, c, "orders", "another", time.Minute)
	last := make(map[int]string)
	for _, d := range collect(t, s, crashEvents) {
		if d.ID <= last[d.Partition] {
			t.Fatalf("partition %d: %s after %s", d.Partition, d.ID, last[d.Partition])
		}
		last[d.Partition] = d.ID
	}
	if i := info(t, c, "orders"); i.Scheduled != 0 || i.Events != crashEvents || i.Bytes != crashEvents*200 {
		t.Errorf("at the end %+v", i)
	}
}
