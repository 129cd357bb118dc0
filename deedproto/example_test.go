package deedproto_test

import (
	"context"
	"fmt"
	"log"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedproto"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
	"github.com/deedgo/deed/engine/deedmem"
)

// Orders is the topic, and Created ties a generated message to the name of its
// events and to their key.
var (
	Orders  = deed.NewTopic("orders", nil)
	Created = deedproto.NewType(Orders, "orders.created", 1, (*orderspb.OrderCreated).GetOrderId)
)

// How do I publish and handle Protobuf messages?
func ExampleNewType() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	conn, err := deedmem.Open(ctx, "mem:", nil)
	if err != nil {
		log.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	// [use]
	if err := bus.Publish(ctx, Created.New(&orderspb.OrderCreated{OrderId: "o-1", Total: 4200})); err != nil {
		log.Fatal(err)
	}
	inventory := deed.Subscribe("inventory", nil,
		deed.On(Created, func(ctx context.Context, e deed.Received[*orderspb.OrderCreated]) error {
			fmt.Println(e.Data.GetOrderId(), e.Data.GetTotal(), e.ContentType)
			stop()
			return nil
		}))
	// [use]
	if err := bus.Run(ctx, inventory); err != nil {
		log.Fatal(err)
	}

	// Output:
	// o-1 4200 application/protobuf
}
