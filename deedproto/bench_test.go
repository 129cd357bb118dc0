package deedproto_test

import (
	"encoding/json"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
)

// Of the same order the benchmarks measure what a codec costs an event, the drafting
// and checking around it included. Bytes/op is the size of the data.

type jsonItem struct {
	SKU      string `json:"sku"`
	Quantity int32  `json:"quantity"`
}

type jsonOrder struct {
	OrderID   string     `json:"order_id"`
	Customer  string     `json:"customer"`
	Total     int64      `json:"total"`
	Items     []jsonItem `json:"items"`
	Signature []byte     `json:"signature"`
}

var jsonCreated = deed.NewType(orders, "orders.created", 1, func(o jsonOrder) string { return o.OrderID })

func asJSON(o *orderspb.OrderCreated) jsonOrder {
	j := jsonOrder{OrderID: o.OrderId, Customer: o.Customer, Total: o.Total, Signature: o.Signature}
	for _, item := range o.Items {
		j.Items = append(j.Items, jsonItem{item.Sku, item.Quantity})
	}
	return j
}

func BenchmarkEncode(b *testing.B) {
	o := order()
	j := asJSON(o)
	b.Run("json", func(b *testing.B) { encode(b, func() deed.Draft { return jsonCreated.New(j) }) })
	b.Run("protobuf", func(b *testing.B) { encode(b, func() deed.Draft { return created.New(o) }) })
}

func encode(b *testing.B, draft func() deed.Draft) {
	b.ReportAllocs()
	for b.Loop() {
		e, err := deed.Prepare(b.Context(), draft(), "/test")
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(e.Data)))
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := json.Marshal(asJSON(order()))
	if err != nil {
		b.Fatal(err)
	}
	asEvent := deed.Event{ID: "1", Type: "orders.created", Data: data}
	b.Run("json", func(b *testing.B) { decode(b, jsonCreated, asEvent) })
	asProto, err := deed.Prepare(b.Context(), created.New(order()), "/test")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("protobuf", func(b *testing.B) { decode(b, created, asProto) })
}

func decode[T any](b *testing.B, of *deed.Type[T], e deed.Event) {
	b.ReportAllocs()
	b.SetBytes(int64(len(e.Data)))
	for b.Loop() {
		if _, err := of.Decode(e); err != nil {
			b.Fatal(err)
		}
	}
}
