package inventory_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/inventory"
	"github.com/deedgo/deed/examples/orders/service/servicetest"
)

func created(id string, items ...events.Item) deed.Draft {
	d := events.OrderCreated.New(events.Created{OrderID: id, Customer: "c1", Items: items})
	d.ID = id
	return d
}

// An order gets all that it wants or nothing, and the same event again gets nothing more.
func TestReserve(t *testing.T) {
	s := servicetest.Start(t, inventory.Run)
	for sku, onHand := range map[string]int{"lamp": 5, "rug": 1} {
		body := fmt.Sprintf(`{"on_hand": %d}`, onHand)
		if status := s.Call(http.MethodPut, "/stock/"+sku, "", body, nil); status != http.StatusNoContent {
			t.Fatalf("stock of %s: %d", sku, status)
		}
	}
	if status := s.Call(http.MethodPut, "/stock/lamp", "", `{"on_hand": -1}`, nil); status != http.StatusBadRequest {
		t.Errorf("a negative stock is accepted: %d", status)
	}
	s.Publish(
		created("enough", events.Item{SKU: "lamp", Quantity: 2}, events.Item{SKU: "rug", Quantity: 1}),
		created("enough", events.Item{SKU: "lamp", Quantity: 2}, events.Item{SKU: "rug", Quantity: 1}),
	)
	reserved := func() int { return s.Events(events.Stock, events.StockReserved.Name()) }
	rejected := func() int { return s.Events(events.Stock, events.StockRejected.Name()) }
	s.Await("the first answer", func() bool { return reserved() == 1 })
	s.Publish(
		created("no rug left", events.Item{SKU: "lamp", Quantity: 1}, events.Item{SKU: "rug", Quantity: 1}),
		created("too many in two lines", events.Item{SKU: "lamp", Quantity: 2}, events.Item{SKU: "lamp", Quantity: 2}),
		created("unknown", events.Item{SKU: "car", Quantity: 1}),
	)
	s.Await("three refusals", func() bool { return rejected() == 3 })

	var levels []inventory.Level
	s.Call(http.MethodGet, "/stock", "", "", &levels)
	want := []inventory.Level{{SKU: "lamp", OnHand: 3, Reserved: 2}, {SKU: "rug", OnHand: 0, Reserved: 1}}
	if fmt.Sprint(levels) != fmt.Sprint(want) || reserved() != 1 {
		t.Errorf("stock is %v with %d reservations announced, want %v and 1", levels, reserved(), want)
	}
}
