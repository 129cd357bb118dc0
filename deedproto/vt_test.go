package deedproto_test

import (
	"fmt"

	"github.com/deedgo/deed/deedproto"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// vtOrder is an order with the methods that vtprotobuf would generate for it.
type vtOrder struct {
	orderspb.OrderCreated
	marshalled, unmarshalled int
}

var vtCreated = deedproto.NewType(orders, "orders.created", 1, func(o *vtOrder) string { return o.OrderId })

func (o *vtOrder) SizeVT() int { return proto.Size(&o.OrderCreated) }

func (o *vtOrder) MarshalVT() ([]byte, error) {
	o.marshalled++
	b := make([]byte, 0, o.SizeVT())
	b = appendText(b, 1, o.OrderId)
	b = appendText(b, 2, o.Customer)
	b = protowire.AppendTag(b, 3, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(o.Total))
	for _, item := range o.Items {
		b = protowire.AppendTag(b, 4, protowire.BytesType)
		b = protowire.AppendBytes(b, protowire.AppendVarint(
			protowire.AppendTag(appendText(nil, 1, item.Sku), 2, protowire.VarintType), uint64(item.Quantity)))
	}
	return appendText(b, 5, string(o.Signature)), nil
}

func appendText(b []byte, number protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), text)
}

func (o *vtOrder) UnmarshalVT(data []byte) error {
	o.unmarshalled++
	if err := proto.Unmarshal(data, &o.OrderCreated); err != nil {
		return fmt.Errorf("unmarshal: %w", err)
	}
	return nil
}
