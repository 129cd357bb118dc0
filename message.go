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
		if *a.value != "" {
			n++
		}
	}
	if n == 0 {
		return m
	}
	m.Attributes = make(map[string]string, n)
	maps.Copy(m.Attributes, e.Extensions)
	for _, a := range e.attributes() {
		if *a.value != "" {
			m.Attributes[a.name] = *a.value
		}
	}
	return m
}

// EventOf returns the event that an engine stored as m, for features that
// administer what engines keep. It shares m's data.
func EventOf(m *driver.Message) Event { return eventOf(m) }

// eventOf turns what an engine stored back into an Event.
func eventOf(m *driver.Message) Event {
	e := Event{
		ID: m.ID, Source: m.Source, Type: m.Type, Version: max(m.Version, 1), Key: m.Key, Time: m.Time,
		ContentType: m.ContentType, Data: m.Data,
	}
	known := 0
	if len(m.Attributes) > 0 {
		for _, a := range e.attributes() {
			if v, ok := m.Attributes[a.name]; ok {
				*a.value = v
				known++
			}
		}
	}
	if len(m.Attributes) > known {
		e.Extensions = make(map[string]string, len(m.Attributes)-known)
		for name, v := range m.Attributes {
			if !reservedAttribute(name) {
				e.Extensions[name] = v
			}
		}
	}
	return e
}

type attribute struct {
	name  string
	value *string
}

// attributes lists the fields that engines keep among their Attributes.
func (e *Event) attributes() [6]attribute {
	return [...]attribute{
		{attrSubject, &e.Subject},
		{attrSchema, &e.Schema},
		{attrCorrelationID, &e.CorrelationID},
		{attrCausationID, &e.CausationID},
		{attrTraceParent, &e.TraceParent},
		{attrTraceState, &e.TraceState},
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
