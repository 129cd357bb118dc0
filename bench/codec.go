package main

import (
	"context"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedproto"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
)

// codecKind says how events become bytes.
type codecKind int

const (
	codecNone codecKind = iota
	codecJSON
	codecProto
)

// ends returns both ends of a type with the codec: what drafts an event and what
// handles it.
func (c codecKind) ends(topic *deed.Topic, handle func([]byte)) (func(event) deed.Draft, deed.Handler) {
	switch c {
	case codecJSON:
		return jsonEnds(topic, handle)
	case codecProto:
		return protoEnds(topic, handle)
	}
	t := deed.NewTypeCodec(topic, "orders.created", 1, func(m plain) string { return m.key }, rawCodec{})
	draft := func(e event) deed.Draft { return t.New(plain(e)) }
	return draft, deed.On(t, func(_ context.Context, e deed.Received[plain]) error {
		handle(e.Data.data)
		return nil
	})
}

// order has the fields of orderspb.OrderCreated.
type order struct {
	OrderID   string `json:"order_id"`
	Customer  string `json:"customer"`
	Total     int64  `json:"total"`
	Items     []item `json:"items"`
	Signature []byte `json:"signature"`
}

type item struct {
	SKU      string `json:"sku"`
	Quantity int32  `json:"quantity"`
}

// What orders hold. The signature has the event's stamp in its first bytes.
const (
	customer       = "customer-0000004711"
	total          = 5980
	signatureBytes = 32
)

var items = []item{{"sku-100-200", 2}, {"sku-100-201", 1}, {"sku-7", 12}}

func jsonEnds(topic *deed.Topic, handle func([]byte)) (func(event) deed.Draft, deed.Handler) {
	t := deed.NewType(topic, "orders.created", 1, func(o order) string { return o.OrderID })
	draft := func(e event) deed.Draft {
		return t.New(order{
			OrderID: e.key, Customer: customer, Total: total, Items: items, Signature: e.data[:signatureBytes],
		})
	}
	return draft, deed.On(t, func(_ context.Context, e deed.Received[order]) error {
		handle(e.Data.Signature)
		return nil
	})
}

func protoEnds(topic *deed.Topic, handle func([]byte)) (func(event) deed.Draft, deed.Handler) {
	t := deedproto.NewType(topic, "orders.created", 1, (*orderspb.OrderCreated).GetOrderId)
	lines := make([]*orderspb.Item, len(items))
	for i, it := range items {
		lines[i] = &orderspb.Item{Sku: it.SKU, Quantity: it.Quantity}
	}
	draft := func(e event) deed.Draft {
		return t.New(&orderspb.OrderCreated{
			OrderId: e.key, Customer: customer, Total: total, Items: lines, Signature: e.data[:signatureBytes],
		})
	}
	return draft, deed.On(t, func(_ context.Context, e deed.Received[*orderspb.OrderCreated]) error {
		handle(e.Data.GetSignature())
		return nil
	})
}
