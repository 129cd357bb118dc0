package deed_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// unordered is an engine that keeps no order.
type unordered struct{ driver.Conn }

func (e unordered) Unwrap() driver.Conn { return e.Conn }

func (e unordered) Features() driver.Features {
	f := e.Conn.Features()
	f.KeyOrder = false
	return f
}

func TestOrderIsRefusedWhereNoneIsKept(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBusWith(t, "mem:", func(c driver.Conn) driver.Conn { return unordered{c} })
		free := deed.NewType[note](deed.NewTopic("notes", nil), "noted.free", 1, nil)
		byType := deed.NewType[note](deed.NewTopic("typed", &deed.TopicOptions{PartitionBy: deed.ByType}), "typed", 1, nil)
		if err := bus.Publish(t.Context(), free.New(note{"a", 1})); err != nil {
			t.Errorf("an event without a key: %v", err)
		}
		group := deed.Subscribe("g", nil, deed.On(noted, func(context.Context, deed.Received[note]) error { return nil }))
		for _, c := range []struct {
			what, want string
			err        error
		}{
			{"an event with a key", `has key "a"`, bus.Publish(t.Context(), noted.New(note{"a", 1}))},
			{"a topic by type", "PartitionBy", bus.Publish(t.Context(), byType.New(note{"a", 1}))},
			{"a group of events with keys", "keeps no order", bus.Run(t.Context(), group)},
		} {
			if !errors.Is(c.err, errors.ErrUnsupported) || !strings.Contains(c.err.Error(), c.want) {
				t.Errorf("%s: error %v, want a refusal that says %q", c.what, c.err, c.want)
			}
		}
	})
}
