package deed

import (
	"maps"
	"slices"

	"github.com/deedgo/deed/driver"
)

// message turns e into what engines store.
func (e *Event) message() driver.Message {
	m := driver.Message{
		ID: e.ID, Source: e.Source, Type: e.Type, Version: max(e.Version, 1), Key: e.Key, Time: e.Time,
		ContentType: e.ContentType, Data: e.Data,
	}
	n := len(e.Extensions)
	for _, a := range e.attributes() {
		if a.value != "" {
			n++
		}
	}
	if n == 0 {
		return m
	}
	m.Attributes = make(map[string]string, n)
	maps.Copy(m.Attributes, e.Extensions)
	for _, a := range e.attributes() {
		if a.value != "" {
			m.Attributes[a.name] = a.value
		}
	}
	return m
}

// MessageOf returns what engines store for an event, for bridges to other systems. It
// shares the event's data.
func MessageOf(e *Event) driver.Message { return e.message() }

// EventOf returns the event that an engine stored as m, for features that
// administer what engines keep. It shares m's data.
func EventOf(m *driver.Message) Event { return eventOf(m) }

// eventOf turns what an engine stored back into an Event.
func eventOf(m *driver.Message) Event {
	e := Event{
		ID: m.ID, Source: m.Source, Type: m.Type, Version: max(m.Version, 1), Key: m.Key, Time: m.Time,
		ContentType: m.ContentType, Data: m.Data,
	}
	for name, v := range m.Attributes {
		switch field := e.attribute(name); {
		case field != nil:
			*field = v
		case reservedAttribute(name):
		case e.Extensions == nil:
			e.Extensions = map[string]string{name: v}
		default:
			e.Extensions[name] = v
		}
	}
	return e
}

// attributes lists the fields that engines keep among their Attributes.
func (e *Event) attributes() [6]struct{ name, value string } {
	return [...]struct{ name, value string }{
		{attrSubject, e.Subject},
		{attrSchema, e.Schema},
		{attrCorrelationID, e.CorrelationID},
		{attrCausationID, e.CausationID},
		{attrTraceParent, e.TraceParent},
		{attrTraceState, e.TraceState},
	}
}

// attribute returns the field of one of attributes, nil for any other name.
func (e *Event) attribute(name string) *string {
	switch name {
	case attrSubject:
		return &e.Subject
	case attrSchema:
		return &e.Schema
	case attrCorrelationID:
		return &e.CorrelationID
	case attrCausationID:
		return &e.CausationID
	case attrTraceParent:
		return &e.TraceParent
	case attrTraceState:
		return &e.TraceState
	}
	return nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
