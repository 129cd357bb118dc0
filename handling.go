package deed

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/deedgo/deed/driver"
)

// handling is a handler's context: it knows the event being handled.
type handling struct {
	context.Context
	message   *driver.Message
	group     string
	quiet     bool
	rehearsal bool
}

type handlingKey struct{}

func (h *handling) Value(key any) any {
	if key == (handlingKey{}) {
		return h
	}
	return h.Context.Value(key)
}

func handlingOf(ctx context.Context) *handling {
	h, _ := ctx.Value(handlingKey{}).(*handling)
	return h
}

// Handling returns the event whose handler ctx belongs to.
func Handling(ctx context.Context) (Event, bool) {
	if h := handlingOf(ctx); h != nil {
		return eventOf(h.message), true
	}
	return Event{}, false
}

// Quiet reports whether ctx belongs to a handler that sees an event again after a
// quiet reset. Publish and outboxes are silent then; other effects are up to the
// handler, which was declared [ReplaySafe].
func Quiet(ctx context.Context) bool {
	h := handlingOf(ctx)
	return h != nil && h.quiet
}

// Rehearsal reports whether ctx belongs to a handler that is only tried out, see
// [Subscription.Rehearse]: whatever it does has to be undone.
func Rehearsal(ctx context.Context) bool {
	h := handlingOf(ctx)
	return h != nil && h.rehearsal
}

// IdempotencyKey returns a key for a call that a handler makes to another system:
// "group/source/id/step", the same on every delivery, retry, redrive and replay of
// the event. Step tells several calls of one handler apart. Outside a handler the
// key is empty.
func IdempotencyKey(ctx context.Context, step string) string {
	h := handlingOf(ctx)
	if h == nil {
		return ""
	}
	return h.group + "/" + h.message.Source + "/" + h.message.ID + "/" + step
}

// inherit fills correlation, causation and trace from the event being handled, if
// any is.
func (e *Event) inherit(h *handling) {
	if h == nil {
		return
	}
	parent := h.message.Attributes
	if e.CorrelationID == "" {
		if e.CorrelationID = parent[attrCorrelationID]; e.CorrelationID == "" {
			e.CorrelationID = h.message.ID
		}
	}
	if e.CausationID == "" {
		e.CausationID = h.message.ID
	}
	if trace := parent[attrTraceParent]; e.TraceParent == "" && trace != "" {
		e.TraceParent = childTrace(trace)
		e.TraceState = parent[attrTraceState]
	}
}

// The parts of a W3C traceparent of version 00: 00-<trace id>-<parent id>-<flags>.
const (
	traceParentLen = 55
	parentIDStart  = 36
	parentIDEnd    = 52
)

// childTrace returns a traceparent in the same trace with a new parent id. One
// that it cannot read is passed on as it is.
func childTrace(parent string) string {
	if len(parent) != traceParentLen || parent[:3] != "00-" {
		return parent
	}
	var span [8]byte
	rand.Read(span[:]) // never fails
	return parent[:parentIDStart] + hex.EncodeToString(span[:]) + parent[parentIDEnd:]
}
