package system

import (
	"bytes"
	"strings"
	"testing"

	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/order"
)

// twoOrders are the facts of a day with one confirmed and one cancelled order.
func twoOrders() *facts {
	request := func(pieces int) order.Request {
		return order.Request{Items: []events.Wanted{{SKU: "lamp", Quantity: pieces}}}
	}
	rows := func() map[string]orderRow {
		return map[string]orderRow{
			"a": {status: "confirmed", pieces: 2, total: 7980, created: "2026-01-01T00:00:00Z"},
			"b": {status: "cancelled", pieces: 9, total: 35910, created: "2026-01-01T00:00:01Z"},
		}
	}
	return &facts{
		accepted:     map[string]order.Request{"a": request(2), "b": request(9)},
		stock:        map[string]int{"lamp": 5},
		mails:        map[string]int{"a": 1, "b": 1},
		orders:       rows(),
		onHand:       map[string]int{"lamp": 3},
		reserved:     map[string]int{"lamp": 2},
		reservations: map[string]int{"a": 2},
		view:         rows(),
		remembered:   2,
		heard:        map[string]int{"a": 1, "b": 1},
		events: map[string]map[string]int{
			"orders.created": {"a": 1, "b": 1}, "stock.reserved": {"a": 1}, "stock.rejected": {"b": 1},
			"orders.confirmed": {"a": 1}, "orders.cancelled": {"b": 1},
		},
	}
}

// A reconciliation that cannot fail proves nothing: each of these has to be noticed.
func TestReconcileNotices(t *testing.T) {
	var out bytes.Buffer
	if err := reconcile(&out, twoOrders(), &traffic{}, 0); err != nil {
		t.Fatalf("a clean day: %v\n%s", err, &out)
	}
	for name, spoil := range map[string]func(*facts){
		"an order lost":             func(f *facts) { delete(f.orders, "a") },
		"an order nobody placed":    func(f *facts) { delete(f.accepted, "b") },
		"an order without outcome":  func(f *facts) { f.orders["a"] = orderRow{status: "created"} },
		"other goods than ordered":  func(f *facts) { f.accepted["a"].Items[0].Quantity = 1 },
		"announced twice":           func(f *facts) { f.events["orders.created"]["a"] = 2 },
		"never announced":           func(f *facts) { delete(f.events["orders.created"], "a") },
		"confirmed twice":           func(f *facts) { f.events["orders.confirmed"]["a"] = 2 },
		"answered both ways":        func(f *facts) { f.events["stock.rejected"]["a"] = 1 },
		"reserved twice":            func(f *facts) { f.reserved["lamp"], f.reservations["a"] = 4, 4 },
		"stock lost":                func(f *facts) { f.onHand["lamp"] = 2 },
		"two mails":                 func(f *facts) { f.mails["a"] = 2 },
		"no mail":                   func(f *facts) { delete(f.mails, "b") },
		"a mail forgotten":          func(f *facts) { f.remembered = 1 },
		"a row missing in the view": func(f *facts) { delete(f.view, "b") },
		"a row too many":            func(f *facts) { f.view["c"] = orderRow{} },
		"another total": func(f *facts) {
			f.view["a"] = orderRow{status: "confirmed", pieces: 2, total: 1, created: "2026-01-01T00:00:00Z"}
		},
		"an outcome not heard":   func(f *facts) { delete(f.heard, "a") },
		"an outcome heard twice": func(f *facts) { f.heard["b"] = 2 },
		"a dead letter":          func(f *facts) { f.work.dead = 1 },
		"a parked event":         func(f *facts) { f.work.parked = 1 },
		"something to do ":       func(f *facts) { f.work.lag = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := twoOrders()
			spoil(f)
			out.Reset()
			err := reconcile(&out, f, &traffic{}, 0)
			if err == nil || !strings.Contains(out.String(), "≠") {
				t.Errorf("error %v, table:\n%s", err, &out)
			}
		})
	}
}
