// Package order is the service that owns orders: it takes them over HTTP and from tills,
// announces them, and confirms or cancels each when inventory has answered.
package order

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

const schema = `
CREATE TABLE IF NOT EXISTS orders (
	id       TEXT PRIMARY KEY,
	customer TEXT NOT NULL,
	items    TEXT NOT NULL, -- JSON
	total    INTEGER NOT NULL, -- cents
	created  TEXT NOT NULL,
	status   TEXT NOT NULL, -- created, then confirmed or cancelled
	reason   TEXT NOT NULL DEFAULT ''
)`

// What an order is.
const (
	statusCreated   = "created"
	statusConfirmed = "confirmed"
	statusCancelled = "cancelled"
)

// Order is an order as the service keeps and shows it.
type Order struct {
	ID       string        `json:"id"`
	Customer string        `json:"customer"`
	Items    []events.Item `json:"items"`
	Total    events.Money  `json:"total"`
	Created  time.Time     `json:"created"`
	Status   string        `json:"status"`
	Reason   string        `json:"reason,omitempty"`
}

// Run is the service: it works until ctx ends.
func Run(ctx context.Context, cfg service.Config) error {
	s, err := service.Open(ctx, "order", cfg, schema)
	if err != nil {
		return err
	}
	o := &orders{db: s.DB, box: outbox.New(s.DB, "/order", nil)}
	heard := deed.Subscribe("order", nil,
		inbox.On(o.db, events.TillOrdered, o.take),
		inbox.On(o.db, events.StockReserved, o.confirm),
		inbox.On(o.db, events.StockRejected, o.cancel))
	return s.Run(ctx, o.routes(), o.box, heard)
}

type orders struct {
	db  *sqldb.DB
	box *outbox.Outbox
}

var (
	errOtherOrder = errors.New("the key belongs to another order")
	errNotFound   = errors.New("no such order")
)

// create stores a new order and announces it, both or neither. An id that is known
// already means that the customer did not hear our first answer: nothing happens
// again, and created is false.
func (o *orders) create(ctx context.Context, order Order) (stored Order, created bool, err error) {
	err = o.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		stored, created, err = o.insert(ctx, tx, order)
		return err
	})
	return stored, created, err
}

// take is create for an order that a till has sent, maybe twice. What no retry will mend
// becomes a dead letter: at a till there is nobody to ask.
func (o *orders) take(ctx context.Context, tx *sql.Tx, e deed.Received[events.Ordered]) error {
	order, err := newOrder(e.Data.OrderID, Request{Customer: e.Data.Customer, Items: e.Data.Items})
	if err != nil {
		return deed.Reject(err)
	}
	_, _, err = o.insert(ctx, tx, order)
	if errors.Is(err, errOtherOrder) {
		return deed.Reject(err)
	}
	return err
}

func (o *orders) insert(ctx context.Context, tx *sql.Tx, order Order) (stored Order, created bool, err error) {
	items, err := json.Marshal(order.Items)
	if err != nil {
		return Order{}, false, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO orders (id, customer, items, total, created, status)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		order.ID, order.Customer, string(items), order.Total, order.Created.Format(time.RFC3339Nano), statusCreated)
	if err != nil {
		return Order{}, false, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return Order{}, false, err
	}
	if n == 0 {
		stored, err = find(ctx, tx, order.ID)
		if err == nil && !sameOrder(stored, order) {
			err = fmt.Errorf("order %s: %w", order.ID, errOtherOrder)
		}
		return stored, false, err
	}
	return order, true, o.box.Publish(ctx, tx, events.OrderCreated.New(events.Created{
		OrderID: order.ID, Customer: order.Customer, Items: order.Items, Total: order.Total, Created: order.Created,
	}))
}

func (o *orders) confirm(ctx context.Context, tx *sql.Tx, e deed.Received[events.Reserved]) error {
	order, err := o.settle(ctx, tx, e.Data.OrderID, statusConfirmed, "")
	if err != nil {
		return err
	}
	return o.box.Publish(ctx, tx, events.OrderConfirmed.New(events.Confirmed{
		OrderID: order.ID, Customer: order.Customer, Total: order.Total,
	}))
}

func (o *orders) cancel(ctx context.Context, tx *sql.Tx, e deed.Received[events.Rejected]) error {
	order, err := o.settle(ctx, tx, e.Data.OrderID, statusCancelled, e.Data.Reason)
	if err != nil {
		return err
	}
	return o.box.Publish(ctx, tx, events.OrderCancelled.New(events.Cancelled{
		OrderID: order.ID, Customer: order.Customer, Reason: e.Data.Reason,
	}))
}

// settle gives an order its outcome. An order that has one already, or that never
// was, means that another service is wrong, which no retry will mend.
func (o *orders) settle(ctx context.Context, tx *sql.Tx, id, status, reason string) (Order, error) {
	order, err := find(ctx, tx, id)
	if errors.Is(err, errNotFound) {
		return Order{}, deed.Reject(err)
	}
	if err != nil {
		return Order{}, err
	}
	if order.Status != statusCreated {
		return Order{}, deed.Reject(fmt.Errorf("order %s is %s and cannot become %s", id, order.Status, status))
	}
	_, err = tx.ExecContext(ctx, `UPDATE orders SET status = ?, reason = ? WHERE id = ?`, status, reason, id)
	return order, err
}

// queryer is what find needs of a transaction or a database.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func find(ctx context.Context, q queryer, id string) (Order, error) {
	order := Order{ID: id}
	var items, created string
	err := q.QueryRowContext(ctx, `SELECT customer, items, total, created, status, reason FROM orders WHERE id = ?`, id).
		Scan(&order.Customer, &items, &order.Total, &created, &order.Status, &order.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return Order{}, fmt.Errorf("order %s: %w", id, errNotFound)
	}
	if err != nil {
		return Order{}, err
	}
	if err := json.Unmarshal([]byte(items), &order.Items); err != nil {
		return Order{}, fmt.Errorf("order %s: items: %w", id, err)
	}
	if order.Created, err = time.Parse(time.RFC3339Nano, created); err != nil {
		return Order{}, fmt.Errorf("order %s: created: %w", id, err)
	}
	return order, nil
}
