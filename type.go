package deed

import (
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Type ties a Go type to the explicit, versioned name of its events and to their
// topic. It is a value without a connection.
type Type[T any] struct {
	topic   *Topic
	name    string
	version int
	key     func(T) string
	codec   Codec
}

// NewType declares the events called name, version version, on topic. The key
// function returns what order is kept by, the aggregate's id as a rule; nil means
// that the events have no order. Values are coded as JSON.
func NewType[T any](topic *Topic, name string, version int, key func(T) string) *Type[T] {
	return NewTypeCodec(topic, name, version, key, JSON)
}

// NewTypeCodec is NewType with another codec.
func NewTypeCodec[T any](topic *Topic, name string, version int, key func(T) string, codec Codec) *Type[T] {
	return &Type[T]{topic: topic, name: name, version: version, key: key, codec: codec}
}

// Name returns the type's name.
func (t *Type[T]) Name() string { return t.name }

// Version returns the type's version.
func (t *Type[T]) Version() int { return t.version }

// Topic returns the type's topic.
func (t *Type[T]) Topic() *Topic { return t.topic }

// New drafts an event that says v. Its fields may be set before it is published:
//
//	d := Created.New(order)
//	d.Subject = order.Customer
func (t *Type[T]) New(v T) Draft {
	d := Draft{
		Event: Event{Type: t.name, Version: t.version, ContentType: t.codec.ContentType()},
		topic: t.topic, codec: t.codec, value: v,
	}
	if t.key != nil {
		d.Key = t.key(v)
	}
	return d
}

// Decode reads the value of an event of this type.
func (t *Type[T]) Decode(e Event) (T, error) {
	var v T
	if e.Type != t.name {
		return v, fmt.Errorf("event %s is a %s, not a %s", e.ID, e.Type, t.name)
	}
	if got := max(e.Version, 1); got != t.version {
		return v, fmt.Errorf("event %s has version %d of %s, this program knows version %d: %w",
			e.ID, got, t.name, t.version, errVersion)
	}
	if err := t.codec.Decode(e.Data, &v); err != nil {
		return v, fmt.Errorf("event %s: data is no %s version %d: %w", e.ID, t.name, t.version, err)
	}
	return v, nil
}

// Draft is an event that was not published yet. Set fields of the Event as needed;
// what is left empty is filled when it is published: ID with a UUIDv7, Source from
// the bus or outbox, Time with now, correlation, causation and trace from the
// event being handled.
type Draft struct {
	Event
	// NotBefore delays the event: nobody sees it earlier. Zero means now. An
	// engine without delays refuses it.
	NotBefore time.Time

	topic *Topic
	codec Codec // of value; nil means that Data is set
	value any
}

// NewDraft drafts an event without a Go type, as bridges and the command line do.
func NewDraft(topic *Topic, e Event) Draft { return Draft{Event: e, topic: topic} }

// To sends a draft whose type is declared on a pattern to one of the topics that the
// pattern matches.
func (d Draft) To(t *Topic) Draft {
	if p := d.topic; p != nil && p.pattern && !t.pattern && driver.MatchTopic(p.name, t.name) {
		d.topic = t
	} // else Publish refuses what stays
	return d
}

// Topic returns the topic that the draft is for.
func (d *Draft) Topic() *Topic { return d.topic }
