package deedsql

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

func TestPublishReceiveSettle(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.CreateTopic(ctx, "orders", driver.TopicSettings{}); err != nil {
		t.Fatal(err)
	}
	b := driver.Batch{Topic: "orders", Generation: 1, Partition: 3, Producer: "p", Seq: 1}
	for i := range 120 {
		b.Messages = append(b.Messages, driver.Message{ID: fmt.Sprint(i), Source: "/s", Type: "t", Version: 1, Key: "k",
			Time: time.Now(), Attributes: map[string]string{"subject": "ä\"", "x": "y"}, Data: []byte("hello")})
	}
	rs, err := c.Publish(ctx, []driver.Batch{b, b})
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].Stored != 120 || rs[0].Last != "120" || rs[0].Err != nil || rs[1].Stored != 0 {
		t.Fatalf("receipts %+v", rs)
	}
	s, err := c.Subscribe(ctx, driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	granted, seen := 0, 0
	var claim driver.Claim
	for seen < 120 {
		r, err := s.Receive(ctx, driver.Fetch{Events: 50, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		granted += len(r.Granted)
		for _, g := range r.Granted {
			if g.Partition == 3 {
				claim = g
			}
		}
		for _, d := range r.Deliveries {
			seen++
			if d.Position != fmt.Sprint(seen) || d.Key != "k" || d.Attributes["subject"] != "ä\"" {
				t.Fatalf("%+v", d)
			}
		}
	}
	if granted != 16 {
		t.Fatal(granted)
	}
	lost, err := s.Settle(ctx, []driver.Settlement{{Partition: 3, Epoch: claim.Epoch, Position: "120", Release: true}})
	if err != nil || lost != nil {
		t.Fatal(lost, err)
	}
	for {
		r, err := s.Receive(ctx, driver.Fetch{Events: 50, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Granted) == 1 {
			if r.Granted[0].Position != "120" || r.Granted[0].Suspect || r.Granted[0].Epoch != claim.Epoch+1 {
				t.Fatalf("%+v", r.Granted)
			}
			break
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
