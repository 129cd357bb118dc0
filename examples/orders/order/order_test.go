package order_test

import (
	"net/http"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/order"
	"github.com/deedgo/deed/examples/orders/service/servicetest"
)

const lamps = `{"customer": "c1", "items": [{"sku": "lamp", "quantity": 2}]}`

func TestHTTP(t *testing.T) {
	s := servicetest.Start(t, order.Run)
	for _, step := range []struct {
		name, method, path, key, body string
		want                          int
	}{
		{"the first time", http.MethodPost, "/orders", "a", lamps, http.StatusCreated},
		{"asked again", http.MethodPost, "/orders", "a", lamps, http.StatusOK},
		{"another order under its key", http.MethodPost, "/orders", "a",
			`{"customer": "c1", "items": [{"sku": "rug", "quantity": 2}]}`, http.StatusConflict},
		{"without a key", http.MethodPost, "/orders", "", lamps, http.StatusBadRequest},
		{"nothing ordered", http.MethodPost, "/orders", "b", `{"customer": "c1"}`, http.StatusBadRequest},
		{"what we do not sell", http.MethodPost, "/orders", "b",
			`{"customer": "c1", "items": [{"sku": "car", "quantity": 1}]}`, http.StatusBadRequest},
		{"no JSON", http.MethodPost, "/orders", "b", `lamp`, http.StatusBadRequest},
		{"a known order", http.MethodGet, "/orders/a", "", "", http.StatusOK},
		{"an unknown one", http.MethodGet, "/orders/b", "", "", http.StatusNotFound},
	} {
		var o order.Order
		status := s.Call(step.method, step.path, step.key, step.body, &o)
		if status != step.want {
			t.Errorf("%s: %d, want %d", step.name, status, step.want)
		}
		if status < 300 && (o.ID != "a" || o.Total != 7980 || o.Status != "created") {
			t.Errorf("%s: %+v", step.name, o)
		}
	}
	s.Await("the announcement", func() bool { return s.Events(events.Orders, events.OrderCreated.Name()) > 0 })
	if n := s.Events(events.Orders, events.OrderCreated.Name()); n != 1 {
		t.Errorf("one order is announced %d times", n)
	}
}

// Inventory's answer is stored and announced, and hearing it twice changes nothing.
func TestOutcomes(t *testing.T) {
	s := servicetest.Start(t, order.Run)
	for _, id := range []string{"yes", "no"} {
		if status := s.Call(http.MethodPost, "/orders", id, lamps, nil); status != http.StatusCreated {
			t.Fatalf("order %s: %d", id, status)
		}
	}
	reserved := events.StockReserved.New(events.Reserved{OrderID: "yes"})
	reserved.ID = "same"
	s.Publish(reserved, reserved, events.StockRejected.New(events.Rejected{OrderID: "no", Reason: "no lamps"}))
	s.Await("both outcomes", func() bool {
		return s.Events(events.Orders, events.OrderConfirmed.Name()) == 1 &&
			s.Events(events.Orders, events.OrderCancelled.Name()) == 1
	})
	var yes, no order.Order
	s.Call(http.MethodGet, "/orders/yes", "", "", &yes)
	s.Call(http.MethodGet, "/orders/no", "", "", &no)
	if yes.Status != "confirmed" || no.Status != "cancelled" || no.Reason != "no lamps" {
		t.Errorf("orders are %+v and %+v", yes, no)
	}
}

// What a till sends twice is one order; what is none becomes a dead letter, and holds
// nobody else back.
func TestOrdersFromATill(t *testing.T) {
	s := servicetest.Start(t, order.Run)
	at := func(id, customer string, items ...events.Wanted) deed.Draft {
		d := events.TillOrdered.New(events.Ordered{OrderID: id, Customer: customer, Items: items})
		d.ID = id
		return d
	}
	lamp := events.Wanted{SKU: "lamp", Quantity: 2}
	again := at("a", "c1", lamp)
	again.ID = "published anew"
	other := at("a", "c2", lamp)
	other.ID = "another under the same number"
	s.Publish(at("a", "c1", lamp), at("a", "c1", lamp), again, other,
		at("b", "c1", events.Wanted{SKU: "car", Quantity: 1}), at("", "c1", lamp), at("c", "c1", lamp))
	s.Await("the last order", func() bool { return s.Events(events.Orders, events.OrderCreated.Name()) == 2 })
	var a order.Order
	if status := s.Call(http.MethodGet, "/orders/a", "", "", &a); status != http.StatusOK || a.Total != 7980 {
		t.Errorf("GET: %d, %+v", status, a)
	}
	s.Await("the dead letters", func() bool { return s.Dead("order") == 3 })
}
