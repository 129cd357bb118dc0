package deed_test

import (
	"context"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// damaged is an engine whose every event of the key "bad" cannot be read.
type damaged struct{ driver.Conn }

func (d damaged) Unwrap() driver.Conn { return d.Conn }

func (d damaged) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	s, err := d.Conn.Subscribe(ctx, spec)
	return damagedSubscription{s}, err
}

type damagedSubscription struct{ driver.Subscription }

func (s damagedSubscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	got, err := s.Subscription.Receive(ctx, f)
	for i := range got.Deliveries {
		if d := &got.Deliveries[i]; d.Key == "bad" {
			d.Unreadable, d.Type = "no JSON object", "nobody.handles.this"
		}
	}
	return got, err
}

// What an engine cannot read is neither handled nor passed over, by whatever handlers.
func TestUnreadableBecomesDeadLetter(t *testing.T) {
	var j *journal
	for name, handler := range map[string]deed.Handler{
		"On": deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
			j.add(e.Data)
			return nil
		}),
		"OnAny": deed.OnAny(noted.Topic(), func(_ context.Context, e deed.Received[[]byte]) error {
			j.add(note{Key: e.Key})
			return nil
		}),
	} {
		bubble(t, name, func(t *testing.T) {
			conn, err := deedmem.Open(t.Context(), "mem:", nil)
			if err != nil {
				t.Fatal(err)
			}
			bus, err := deed.New(damaged{conn}, &deed.Options{Source: "/test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { bus.Close() })
			j = &journal{}
			start(t, bus, deed.Subscribe("g", nil, handler))
			publish(t, bus, note{"bad", 1}, note{"good", 1}, note{"bad", 2}, note{"good", 2})
			time.Sleep(time.Second)
			if bad, good := j.of("bad"), j.of("good"); len(bad) != 0 || len(good) != 2 {
				t.Errorf("handled: %v and %v, want the good ones only", bad, good)
			}
			dead := letters(t, bus, driver.Dead)
			if len(dead) != 1 || dead[0].Reason != "undecodable" || dead[0].Error != "no JSON object" || dead[0].Key != "bad" {
				t.Errorf("dead letters: %+v", dead)
			}
			if l := lag(t, bus, "g"); l.Parked != 1 || l.Events != 0 {
				t.Errorf("the event behind it of the same key is not parked: %+v", l)
			}
		})
	}
}
