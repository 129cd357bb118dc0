package system

import (
	"fmt"
	"io"
	"strings"

	"github.com/deedgo/deed/examples/orders/events"
)

// line is one sum of the reconciliation: left and right have to be the same.
type line struct {
	left  string // what is counted on the left
	a     int
	b     int
	right string
	sum   string // how b comes about, "" when it is one number
}

// lines are the sums, each from at least two parties' records.
func (f *facts) lines() []line {
	confirmed, cancelled := f.count("confirmed"), f.count("cancelled")
	outcomes := confirmed + cancelled
	created := len(f.events[events.OrderCreated.Name()])
	reserved, rejected := f.once(events.StockReserved.Name()), f.once(events.StockRejected.Name())
	plus := func(a, b int) string { return fmt.Sprintf("%d + %d", a, b) }
	all := []line{
		{"orders that customers hold a yes for", len(f.accepted), f.matching(), "in the order database, as ordered", ""},
		{"orders in the order database", len(f.orders), len(f.accepted), "that customers hold a yes for", ""},
		{"orders in the order database", len(f.orders), outcomes, "confirmed + cancelled", plus(confirmed, cancelled)},
		{"orders in the order database", len(f.orders), f.once(events.OrderCreated.Name()), "announced once", ""},
		{"orders announced", created, reserved + rejected, "answered once, reserved + rejected", plus(reserved, rejected)},
		{"orders confirmed", confirmed, f.once(events.OrderConfirmed.Name()), "announced once as confirmed", ""},
		{"orders cancelled", cancelled, f.once(events.OrderCancelled.Name()), "announced once as cancelled", ""},
		{"pieces in stock before", total(f.stock), total(f.onHand) + total(f.reserved), "after, on hand + reserved",
			plus(total(f.onHand), total(f.reserved))},
		{"things of which the stock adds up", f.balanced(), len(f.stock), "things in stock", ""},
		{"pieces reserved", total(f.reservations), f.pieces("confirmed"), "pieces in confirmed orders", ""},
		{"orders with an outcome", outcomes, f.mailedOnce(), "about which exactly one mail went out", ""},
		{"mails sent", total(f.mails), f.remembered, "in the notification database", ""},
		{"orders in the order database", len(f.orders), f.sameRows(), "with an equal row in the view", ""},
		{"rows in the view", len(f.view), len(f.orders), "orders in the order database", ""},
		{"cents in confirmed orders", int(value(f.orders)), int(value(f.view)), "in the view", ""},
		{"dead letters", f.work.dead, 0, "", ""},
		{"parked events", f.work.parked, 0, "", ""},
		{"events not handled", f.work.lag, 0, "", ""},
	}
	if f.heard != nil {
		all = append(all, line{"orders with an outcome", outcomes, f.heardOnce(), "whose outcome the till heard, once", ""})
	}
	return all
}

// reconcile prints the sums and fails on the first that does not add up.
func reconcile(w io.Writer, f *facts, t *traffic, mailsRepeated int) error {
	var wrong []string
	fmt.Fprintln(w)
	for _, l := range f.lines() {
		sign := "="
		if l.a != l.b {
			sign = "≠"
			wrong = append(wrong, strings.TrimSpace(fmt.Sprintf("%s: %d ≠ %d %s", l.left, l.a, l.b, l.right)))
		}
		right := fmt.Sprintf("%-8d %s", l.b, l.right)
		if l.sum != "" {
			right += " (" + l.sum + ")"
		}
		fmt.Fprintf(w, "  %-38s %8d %s %s\n", l.left, l.a, sign, strings.TrimRight(right, " "))
	}
	fmt.Fprintln(w)
	say(w, "on the way: %d services killed; customers asked again %d times, %d of them for an order that was stored;",
		t.killed, t.repeated, t.lost)
	say(w, "%d calls asked the mail service for a mail that it had sent, and it knew each by its key", mailsRepeated)
	if len(wrong) > 0 {
		return fmt.Errorf("orders: the books do not add up: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func (f *facts) count(status string) int {
	n := 0
	for _, o := range f.orders {
		if o.status == status {
			n++
		}
	}
	return n
}

func (f *facts) pieces(status string) int {
	n := 0
	for _, o := range f.orders {
		if o.status == status {
			n += o.pieces
		}
	}
	return n
}

// matching counts the orders that the shop keeps as the customer placed them.
func (f *facts) matching() int {
	n := 0
	for id, request := range f.accepted {
		pieces := 0
		for _, item := range request.Items {
			pieces += item.Quantity
		}
		if o, ok := f.orders[id]; ok && o.pieces == pieces {
			n++
		}
	}
	return n
}

// once counts the orders about which exactly one event of the type was announced.
func (f *facts) once(eventType string) int {
	n := 0
	for id, times := range f.events[eventType] {
		if _, ok := f.orders[id]; ok && times == 1 {
			n++
		}
	}
	return n
}

// balanced counts the things of which delivered = on hand + reserved.
func (f *facts) balanced() int {
	n := 0
	for sku, delivered := range f.stock {
		if delivered == f.onHand[sku]+f.reserved[sku] {
			n++
		}
	}
	return n
}

func (f *facts) mailedOnce() int {
	n := 0
	for id := range f.orders {
		if f.mails[id] == 1 {
			n++
		}
	}
	return n
}

func (f *facts) heardOnce() int {
	n := 0
	for id := range f.orders {
		if f.heard[id] == 1 {
			n++
		}
	}
	return n
}

func (f *facts) sameRows() int {
	n := 0
	for id, o := range f.orders {
		if f.view[id] == o {
			n++
		}
	}
	return n
}

// value is what confirmed orders are worth.
func value(rows map[string]orderRow) events.Money {
	var sum events.Money
	for _, o := range rows {
		if o.status == "confirmed" {
			sum += o.total
		}
	}
	return sum
}

func total(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}
