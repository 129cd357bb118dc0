package deed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
)

// handling is what a handler's context knows about the event being handled.
type handling struct {
	event Event
	group string
}

type handlingKey struct{}

func withHandling(ctx context.Context, e Event, group string) context.Context {
	return context.WithValue(ctx, handlingKey{}, &handling{e, group})
}

// Handling returns the event whose handler ctx belongs to.
func Handling(ctx context.Context) (Event, bool) {
	if h, ok := ctx.Value(handlingKey{}).(*handling); ok {
		return h.event, true
	}
	return Event{}, false
}

// IdempotencyKey returns a key for a call that a handler makes to another system:
// "group/source/id/step", the same on every delivery, retry, redrive and replay of
// the event. Step tells several calls of one handler apart. Outside a handler the
// key is empty.
func IdempotencyKey(ctx context.Context, step string) string {
	h, ok := ctx.Value(handlingKey{}).(*handling)
	if !ok {
		return ""
	}
	return h.group + "/" + h.event.Source + "/" + h.event.ID + "/" + step
}

// inherit fills correlation, causation and trace from the event being handled.
func (e *Event) inherit(ctx context.Context) {
	parent, ok := Handling(ctx)
	if !ok {
		return
	}
	if e.CorrelationID == "" {
		if e.CorrelationID = parent.CorrelationID; e.CorrelationID == "" {
			e.CorrelationID = parent.ID
		}
	}
	if e.CausationID == "" {
		e.CausationID = parent.ID
	}
	if e.TraceParent == "" && parent.TraceParent != "" {
		e.TraceParent = childTrace(parent.TraceParent)
		e.TraceState = parent.TraceState
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
