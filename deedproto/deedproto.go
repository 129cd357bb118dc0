// Package deedproto declares types of events whose data is Protobuf.
//
//	var Created = deedproto.NewType(Orders, "orders.created", 1, (*orderspb.OrderCreated).GetOrderId)
//
// The methods that vtprotobuf generates are used where a message has them. Only
// programs that import this package link a Protobuf library.
package deedproto

import (
	"fmt"

	"github.com/deedgo/deed"
	"google.golang.org/protobuf/proto"
)

// ContentType is the datacontenttype of the events.
const ContentType = "application/protobuf"

// Message is satisfied by the pointer to a generated message M, so that a value, an
// interface or a pointer to anything else does not compile.
type Message[M any] interface {
	*M
	proto.Message
}

// NewType is [deed.NewType] for a generated message, which handlers get as a pointer
// of their own. Go infers the message from the key function; without one it has to
// be named:
//
//	deedproto.NewType[orderspb.OrderCreated](Orders, "orders.created", 1, nil)
//
// Fields that a program does not know are kept in the message, so that a producer may
// add fields before its consumers know them.
func NewType[M any, P Message[M]](topic *deed.Topic, name string, version int, key func(P) string) *deed.Type[P] {
	return deed.NewTypeCodec(topic, name, version, key, codec[M, P]{})
}

// codec codes messages of one Go type: which one is known when it is made, so that
// nothing is looked up for an event.
type codec[M any, P Message[M]] struct{}

// The methods of vtprotobuf, found by their names: the package need not be imported
// for them. UnmarshalVT copies what it keeps; UnmarshalVTUnsafe does not and is never
// called.
type (
	vtMarshaler   interface{ MarshalVT() ([]byte, error) } // allocates once, by SizeVT
	vtUnmarshaler interface{ UnmarshalVT(data []byte) error }
)

// ContentType implements [deed.Codec].
func (codec[M, P]) ContentType() string { return ContentType }

// Encode implements [deed.Codec].
func (c codec[M, P]) Encode(v any) ([]byte, error) {
	m, ok := v.(P)
	if !ok {
		return nil, fmt.Errorf("%s: cannot encode a %T", c.name(), v)
	}
	if m == nil {
		return nil, fmt.Errorf("%s: nil message (publish an empty one if that is meant)", c.name())
	}
	var data []byte
	var err error
	if vt, ok := v.(vtMarshaler); ok {
		data, err = vt.MarshalVT()
	} else {
		data, err = proto.Marshal(m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name(), err)
	}
	return data, nil
}

// Decode implements [deed.Codec]. V is a *P; the message is always a new one.
func (c codec[M, P]) Decode(data []byte, v any) error {
	out, ok := v.(*P)
	if !ok {
		return fmt.Errorf("%s: cannot decode into a %T", c.name(), v)
	}
	m := P(new(M))
	var err error
	if vt, ok := any(m).(vtUnmarshaler); ok {
		err = vt.UnmarshalVT(data)
	} else {
		err = proto.Unmarshal(data, m) // copies what it keeps, also of fields that are decoded lazily
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name(), err)
	}
	*out = m
	return nil
}

// name returns the message's full name, "orders.v1.OrderCreated".
func (codec[M, P]) name() string {
	return string(P(new(M)).ProtoReflect().Descriptor().FullName())
}
