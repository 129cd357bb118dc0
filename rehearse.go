package deed

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// Rehearse runs the subscription's present handler for an event, a dead letter as a
// rule, and undoes what it did: it tells whether a redrive would succeed. Handlers
// that cannot undo their effects, those outside of package inbox, are refused.
func (s *Subscription) Rehearse(ctx context.Context, topic string, e Event) (err error) {
	h := s.handlerOf(topic, e.Type)
	switch {
	case h == nil:
		return fmt.Errorf("deed: rehearse: group %s has no handler for %s on topic %s", s.group, e.Type, topic)
	case !h.rehearsed:
		return fmt.Errorf("deed: rehearse: the handler for %s cannot undo its effects (make it with package inbox): %w",
			e.Type, errors.ErrUnsupported)
	}
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	m := e.message()
	r := Received[[]byte]{Event: e, Data: e.Data, Delivery: Delivery{Topic: topic, Group: s.group, Attempt: 1}}
	ctx = &handling{Context: ctx, message: &m, group: s.group, rehearsal: true}
	if h.one != nil {
		return h.one(ctx, r)
	}
	return h.batch(ctx, []Received[[]byte]{r})
}

func (s *Subscription) handlerOf(topic, typeName string) *Handler {
	var fallback *Handler
	for i := range s.handlers {
		h := &s.handlers[i]
		if h.topic.name != topic {
			continue
		}
		if h.typeName == typeName {
			return h
		}
		if h.typeName == "" {
			fallback = h
		}
	}
	return fallback
}
