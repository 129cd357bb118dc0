package deed_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

func TestRunningGroupsKeepTheTopicsBounds(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		topic := deed.NewTopic("short", &deed.TopicOptions{Keep: time.Hour, Partitions: 1})
		event := func() deed.Draft { return deed.NewDraft(topic, deed.Event{Type: "t", Key: "k"}) }
		if err := bus.Publish(t.Context(), event(), event(), event()); err != nil {
			t.Fatal(err)
		}
		start(t, bus, deed.Subscribe("g", nil, deed.OnAny(topic,
			func(context.Context, deed.Received[[]byte]) error { return nil })))
		time.Sleep(50 * time.Minute)
		if n := len(stored(t, bus, "short")); n != 3 {
			t.Errorf("%d events before their time, want 3", n)
		}
		time.Sleep(15 * time.Minute)
		if n := len(stored(t, bus, "short")); n != 1 { // the last one stays
			t.Errorf("%d events after it, want 1", n)
		}
	})
}

func TestFullTopicRefusesAndNamesTheGroup(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		topic := deed.NewTopic("bounded", &deed.TopicOptions{Keep: time.Minute, MaxBytes: 1000, Partitions: 1})
		event := deed.NewDraft(topic, deed.Event{Type: "t", Key: "k", Data: make([]byte, 300)})
		sub := deed.Subscribe("slow", nil, deed.OnAny(topic,
			func(context.Context, deed.Received[[]byte]) error { return nil }))
		stop := start(t, bus, sub)
		time.Sleep(time.Second)
		stop()
		for range 4 {
			if err := bus.Publish(t.Context(), event); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		err := bus.Publish(t.Context(), event)
		var e *deed.PublishError
		if !errors.As(err, &e) || len(e.NotStored) != 1 || !errors.Is(err, driver.ErrFull) ||
			!strings.Contains(err.Error(), "slow") {
			t.Errorf("a full topic: %v", err)
		}
		start(t, bus, sub)
		time.Sleep(time.Second)
		if err := bus.Publish(t.Context(), event); err != nil {
			t.Errorf("after the group got on: %v", err)
		}
	})
}
