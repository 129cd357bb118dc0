package deedamqp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/rabbittest"
)

// An event that always fails is tried as often as the group says and set aside; RabbitMQ
// gives it to nobody again, and what is behind it goes on.
func testPoison(t *testing.T, s *rabbittest.Server, query string) {
	shop := open(t, s.URL()+query)
	info := shop.topic("orders", 1, "billing")
	bus, err := deed.New(shop.another(s.URL()+query), &deed.Options{Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	var poison, good atomic.Int64
	topic := deed.NewTopic("orders", &deed.TopicOptions{Partitions: 1})
	h := deed.OnAny(topic, func(_ context.Context, r deed.Received[[]byte]) error {
		if r.ID == "666" {
			poison.Add(1)
			return errors.New("poison")
		}
		good.Add(1)
		return nil
	})
	retry := &deed.SubscribeOptions{Retry: deed.Retry{Attempts: 3, Min: time.Millisecond, Max: time.Millisecond}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx, deed.Subscribe("billing", retry, h)) }()
	bad := event(666)
	bad.Key = "bad"
	shop.publish(info, bad)
	for n := range 20 {
		shop.publish(info, event(n))
	}
	await(t, "a dead letter, with the others handled", func() bool {
		n := 0
		for _, err := range deadletter.List(t.Context(), bus, &deadletter.Filter{Topic: "orders"}) {
			if err != nil {
				return false
			}
			n++
		}
		return n == 1 && good.Load() == 20
	})
	tries := poison.Load()
	groups, _ := driver.As[driver.Groups](shop.Conn)
	await(t, "nothing in the queue", func() bool {
		lags, err := groups.Lag(t.Context(), "billing", "orders")
		return err == nil && lags[0].Events == 0 && lags[0].Dead == 1
	})
	if tries != 3 || poison.Load() != tries {
		t.Errorf("the event was handled %d times, and %d when all was done", tries, poison.Load())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
