// Package events is all that the four services have in common: the facts that they
// announce to each other. Nothing else is shared, no table and no call.
package events

import (
	"fmt"
	"time"

	"github.com/deedgo/deed"
)

// Topics. Every event here has the order's id as its key, so that each group
// handles the events of one order in order.
var (
	Orders = deed.NewTopic("orders", nil)
	Stock  = deed.NewTopic("stock", nil)
	Tills  = deed.NewTopic("tills", nil) // what comes from outside, over a bridge
)

// Types. The order service publishes the first three, inventory the next two, and tills
// the last.
var (
	OrderCreated   = deed.NewType(Orders, "orders.created", 1, func(o Created) string { return o.OrderID })
	OrderConfirmed = deed.NewType(Orders, "orders.confirmed", 1, func(o Confirmed) string { return o.OrderID })
	OrderCancelled = deed.NewType(Orders, "orders.cancelled", 1, func(o Cancelled) string { return o.OrderID })
	StockReserved  = deed.NewType(Stock, "stock.reserved", 1, func(r Reserved) string { return r.OrderID })
	StockRejected  = deed.NewType(Stock, "stock.rejected", 1, func(r Rejected) string { return r.OrderID })
	TillOrdered    = deed.NewType(Tills, "tills.ordered", 1, func(o Ordered) string { return o.OrderID })
)

// Money is an amount in cents.
type Money int64

// String writes the amount with two decimals.
func (m Money) String() string { return fmt.Sprintf("%d.%02d", m/100, m%100) }

// Item is a line of an order.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    Money  `json:"price"` // of one piece
}

// Wanted is a line of what a customer wants. The price is the shop's business.
type Wanted struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Ordered says that a customer placed an order at a till, which the order service has
// not seen yet.
type Ordered struct {
	OrderID  string   `json:"order_id"`
	Customer string   `json:"customer"`
	Items    []Wanted `json:"items"`
}

// Created says that a customer placed an order.
type Created struct {
	OrderID  string    `json:"order_id"`
	Customer string    `json:"customer"`
	Items    []Item    `json:"items"`
	Total    Money     `json:"total"`
	Created  time.Time `json:"created"`
}

// Confirmed says that an order will be delivered.
type Confirmed struct {
	OrderID  string `json:"order_id"`
	Customer string `json:"customer"`
	Total    Money  `json:"total"`
}

// Cancelled says that an order will not be delivered, and why.
type Cancelled struct {
	OrderID  string `json:"order_id"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"`
}

// Reserved says that everything in an order was set aside for it.
type Reserved struct {
	OrderID string `json:"order_id"`
}

// Rejected says that something in an order was out of stock.
type Rejected struct {
	OrderID string `json:"order_id"`
	Reason  string `json:"reason"`
}
