package deedtest

import (
	"errors"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/driver"
)

// Published returns the events of a topic in the order in which they were stored,
// none when nothing has created the topic.
func (e *Env) Published(topic *deed.Topic) []deed.Stored {
	e.t.Helper()
	return e.read(topic, nil)
}

func (e *Env) read(topic *deed.Topic, o *deed.ReadOptions) (events []deed.Stored) {
	e.t.Helper()
	for s, err := range e.Bus.Read(e.t.Context(), topic.Name(), o) {
		if errors.Is(err, driver.ErrNotFound) {
			return nil // the first event creates the topic
		}
		if err != nil {
			e.t.Fatalf("deedtest: read topic %s: %v", topic.Name(), err)
		}
		events = append(events, s)
	}
	return events
}

// Events returns what the events of a type say, in the order in which they were
// stored: those of a key in the order they were published in. Events of the same name
// and another version are left out.
func Events[T any](e *Env, of *deed.Type[T]) []T {
	e.t.Helper()
	var values []T
	for _, s := range e.read(of.Topic(), &deed.ReadOptions{Type: of.Name()}) {
		if s.Version != of.Version() {
			continue
		}
		v, err := of.Decode(s.Event)
		if err != nil {
			e.t.Fatalf("deedtest: %v", err)
		}
		values = append(values, v)
	}
	return values
}

// DeadLetters returns the events that a group has given up on, "" for all groups.
func (e *Env) DeadLetters(group string) []deadletter.Letter {
	e.t.Helper()
	var letters []deadletter.Letter
	for l, err := range deadletter.List(e.t.Context(), e.Bus, &deadletter.Filter{Group: group}) {
		if err != nil {
			e.t.Fatalf("deedtest: list dead letters: %v", err)
		}
		letters = append(letters, l)
	}
	return letters
}
