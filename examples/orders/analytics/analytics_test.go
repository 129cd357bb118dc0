package analytics_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/deedgo/deed/examples/orders/analytics"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service/servicetest"
)

func TestView(t *testing.T) {
	s := servicetest.Start(t, analytics.Run)
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, id := range []string{"a", "b", "c"} {
		s.Publish(events.OrderCreated.New(events.Created{
			OrderID: id, Total: 100, Created: when,
			Items: []events.Item{{SKU: "lamp", Quantity: 2}, {SKU: "rug", Quantity: 1}},
		}))
	}
	s.Publish(events.OrderConfirmed.New(events.Confirmed{OrderID: "a"}),
		events.OrderCancelled.New(events.Cancelled{OrderID: "b"}))

	want := analytics.Summary{Orders: 3, Waiting: 1, Confirmed: 1, Cancelled: 1, Total: 100}
	var got analytics.Summary
	s.Await("the whole story", func() bool {
		s.Call(http.MethodGet, "/summary", "", "", &got)
		return got == want
	})
	var list []analytics.OrderSummary
	s.Call(http.MethodGet, "/orders?status=confirmed", "", "", &list)
	row := analytics.OrderSummary{
		ID: "a", Status: "confirmed", ItemCount: 3, Total: 100, Created: "2026-01-02T03:04:05Z",
	}
	if len(list) != 1 || list[0] != row {
		t.Errorf("confirmed orders are %v, want %v", list, row)
	}
	s.Call(http.MethodGet, "/orders", "", "", &list)
	if ids := fmt.Sprint(list[0].ID, list[1].ID, list[2].ID); len(list) != 3 || ids != "abc" {
		t.Errorf("all orders are %v", list)
	}
}
