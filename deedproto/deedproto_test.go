package deedproto_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedproto"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
	"github.com/deedgo/deed/engine/deedmem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var (
	orders  = deed.NewTopic("orders", nil)
	created = deedproto.NewType(orders, "orders.created", 1, (*orderspb.OrderCreated).GetOrderId)
	// keyless has no key function to infer the message from.
	keyless = deedproto.NewType[orderspb.OrderCreated](orders, "orders.created", 1, nil)
)

func order() *orderspb.OrderCreated {
	return &orderspb.OrderCreated{
		OrderId: "o-1", Customer: "Zoë", Total: 4200, Signature: []byte{0xff, 0, 1},
		Items: []*orderspb.Item{{Sku: "tea", Quantity: 2}, {Sku: "cup", Quantity: 1}},
	}
}

// event returns the event that a bus would store for a draft.
func event(t *testing.T, d deed.Draft) deed.Event {
	t.Helper()
	e, err := deed.Prepare(t.Context(), d, "/test")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRoundTrip(t *testing.T) {
	for _, m := range []*orderspb.OrderCreated{order(), {}} {
		e := event(t, created.New(m))
		if e.ContentType != "application/protobuf" || e.Key != m.OrderId || e.Type != "orders.created" {
			t.Errorf("content type %q, key %q, type %q", e.ContentType, e.Key, e.Type)
		}
		got, err := created.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, m) {
			t.Errorf("got %v, want %v", got, m)
		}
	}
	if e := event(t, keyless.New(order())); e.Key != "" {
		t.Errorf("key %q without a key function", e.Key)
	}
}

// A message that came over the bus is the handler's own.
func TestOverBus(t *testing.T) {
	conn, err := deedmem.Open(t.Context(), "mem:", nil)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	bus, err := deed.New(conn, &deed.Options{Source: "/test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if err := bus.Publish(t.Context(), created.New(order())); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var got *orderspb.OrderCreated
	err = bus.Run(ctx, deed.Subscribe("inventory", nil,
		deed.On(created, func(_ context.Context, e deed.Received[*orderspb.OrderCreated]) error {
			got = e.Data
			stop()
			return nil
		})))
	if err != nil || !proto.Equal(got, order()) {
		t.Errorf("got %v, error %v; want %v", got, err, order())
	}
}

func TestDecodeRetainsNothing(t *testing.T) {
	unknown := protowire.AppendTag(nil, 99, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "a field of next year")
	want := event(t, created.New(order()))
	want.Data = append(want.Data, unknown...)
	for name, decode := range map[string]func(deed.Event) (proto.Message, error){
		"runtime": func(e deed.Event) (proto.Message, error) { return created.Decode(e) },
		"vt":      func(e deed.Event) (proto.Message, error) { return vtCreated.Decode(e) },
	} {
		e := want
		e.Data = bytes.Clone(want.Data)
		got, err := decode(e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range e.Data {
			e.Data[i] = 0xaa // the buffer is used for something else now
		}
		if m := proto.Clone(got).(*orderspb.OrderCreated); !bytes.Equal(m.ProtoReflect().GetUnknown(), unknown) {
			t.Errorf("%s: the unknown field is %q now", name, m.ProtoReflect().GetUnknown())
		} else if m.ProtoReflect().SetUnknown(nil); !proto.Equal(m, order()) {
			t.Errorf("%s: the message is %v now", name, m)
		}
	}
}

func TestErrorsNameTheType(t *testing.T) {
	if _, err := deed.Prepare(t.Context(), created.New(nil), "/test"); err == nil ||
		!strings.Contains(err.Error(), "orders.v1.OrderCreated: nil message") {
		t.Errorf("nil message: %v", err)
	}
	notUTF8 := &orderspb.OrderCreated{OrderId: "o-1", Customer: "\xff"}
	if _, err := deed.Prepare(t.Context(), created.New(notUTF8), "/test"); err == nil ||
		!strings.Contains(err.Error(), "orders.v1.OrderCreated: ") {
		t.Errorf("text that is not UTF-8: %v", err)
	}
	e := event(t, created.New(order()))
	e.Data = e.Data[:len(e.Data)-1]
	for name, err := range map[string]error{
		"runtime": second(created.Decode(e)), "vt": second(vtCreated.Decode(e)),
	} {
		if err == nil || !strings.Contains(err.Error(), "orders.created version 1: orders.v1.OrderCreated: ") {
			t.Errorf("%s: cut off data: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestMethodsOfVTProtobufArePreferred(t *testing.T) {
	m := &vtOrder{}
	m.OrderId, m.Customer, m.Total = "o-1", "Zoë", 4200
	e := event(t, vtCreated.New(m))
	if m.marshalled != 1 {
		t.Errorf("MarshalVT was called %d times, want once", m.marshalled)
	}
	got, err := vtCreated.Decode(e)
	if err != nil {
		t.Fatal(err)
	}
	if got.unmarshalled != 1 {
		t.Errorf("UnmarshalVT was called %d times, want once", got.unmarshalled)
	}
	plain, err := created.Decode(e)
	if err != nil || !proto.Equal(got, plain) || got.GetTotal() != 4200 {
		t.Errorf("got %v, and %v (%v) without the methods", got, plain, err)
	}
}
