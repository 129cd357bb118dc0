package deed_test

import (
	"context"
	"fmt"
	"log"

	"github.com/deedgo/deed"
)

// How do I look at what happened to one order?
func ExampleBus_Read() {
	ctx := context.Background()
	bus := openMemory(ctx)
	defer bus.Close()
	mustPublish(ctx, bus, OrderCreated{"o-1", 10}, OrderCreated{"o-2", 20}, OrderCreated{"o-1", 30})

	for e, err := range bus.Read(ctx, "orders", &deed.ReadOptions{Key: "o-1"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Type, string(e.Data))
	}

	// Output:
	// orders.created {"order_id":"o-1","total":10}
	// orders.created {"order_id":"o-1","total":30}
}
