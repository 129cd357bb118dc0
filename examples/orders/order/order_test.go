package order_test

import (
	"net/http"
	"testing"

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
