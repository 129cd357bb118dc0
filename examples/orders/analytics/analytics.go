// Package analytics is the service that answers questions about orders without
// asking the service that owns them: it keeps a view of its own, fed by events.
package analytics

import (
	"context"
	"database/sql"
	"net/http"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/sqldb"
)

const schema = `
CREATE TABLE IF NOT EXISTS order_summaries (
	id      TEXT PRIMARY KEY,
	status  TEXT NOT NULL,
	items   INTEGER NOT NULL, -- pieces
	total   INTEGER NOT NULL, -- cents
	created TEXT NOT NULL
)`

// OrderSummary is a row of the view.
type OrderSummary struct {
	ID        string       `json:"id"`
	Status    string       `json:"status"`
	ItemCount int          `json:"item_count"`
	Total     events.Money `json:"total"`
	Created   string       `json:"created"`
}

// Summary is the view in five numbers.
type Summary struct {
	Orders    int          `json:"orders"`
	Waiting   int          `json:"waiting"`
	Confirmed int          `json:"confirmed"`
	Cancelled int          `json:"cancelled"`
	Total     events.Money `json:"total"` // of confirmed orders
}

// Run is the service: it works until ctx ends.
func Run(ctx context.Context, cfg service.Config) error {
	s, err := service.Open(ctx, "analytics", cfg, schema)
	if err != nil {
		return err
	}
	v := &view{db: s.DB}
	orders := deed.Subscribe("analytics", nil,
		inbox.On(v.db, events.OrderCreated, v.created),
		inbox.On(v.db, events.OrderConfirmed, v.confirmed),
		inbox.On(v.db, events.OrderCancelled, v.cancelled))
	return s.Run(ctx, v.routes(), orders)
}

type view struct {
	db *sqldb.DB
}

func (v *view) created(ctx context.Context, tx *sql.Tx, e deed.Received[events.Created]) error {
	pieces := 0
	for _, item := range e.Data.Items {
		pieces += item.Quantity
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO order_summaries (id, status, items, total, created)
		VALUES (?, 'created', ?, ?, ?)`,
		e.Data.OrderID, pieces, e.Data.Total, e.Data.Created.Format(time.RFC3339Nano))
	return err
}

func (v *view) confirmed(ctx context.Context, tx *sql.Tx, e deed.Received[events.Confirmed]) error {
	return setStatus(ctx, tx, e.Data.OrderID, "confirmed")
}

func (v *view) cancelled(ctx context.Context, tx *sql.Tx, e deed.Received[events.Cancelled]) error {
	return setStatus(ctx, tx, e.Data.OrderID, "cancelled")
}

// setStatus needs no check that the row is there: events of one order come in order.
func setStatus(ctx context.Context, tx *sql.Tx, id, status string) error {
	_, err := tx.ExecContext(ctx, `UPDATE order_summaries SET status = ? WHERE id = ?`, status, id)
	return err
}

func (v *view) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", v.getOrders)
	mux.HandleFunc("GET /summary", v.getSummary)
	return mux
}

// getOrders lists the view by id, with ?status= only the orders that have it.
func (v *view) getOrders(w http.ResponseWriter, r *http.Request) {
	list, err := v.list(r.Context(), r.URL.Query().Get("status"))
	if err != nil {
		service.WriteError(w, http.StatusInternalServerError, err)
		return
	}
	service.WriteJSON(w, http.StatusOK, list)
}

func (v *view) list(ctx context.Context, status string) ([]OrderSummary, error) {
	rows, err := v.db.SQL().QueryContext(ctx, `SELECT id, status, items, total, created FROM order_summaries
		WHERE ?1 = '' OR status = ?1 ORDER BY id`, status)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []OrderSummary{}
	for rows.Next() {
		var o OrderSummary
		if err := rows.Scan(&o.ID, &o.Status, &o.ItemCount, &o.Total, &o.Created); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

func (v *view) getSummary(w http.ResponseWriter, r *http.Request) {
	var s Summary
	err := v.db.SQL().QueryRowContext(r.Context(), `SELECT count(*),
		coalesce(sum(status = 'created'), 0), coalesce(sum(status = 'confirmed'), 0),
		coalesce(sum(status = 'cancelled'), 0), coalesce(sum(total) FILTER (WHERE status = 'confirmed'), 0)
		FROM order_summaries`).Scan(&s.Orders, &s.Waiting, &s.Confirmed, &s.Cancelled, &s.Total)
	if err != nil {
		service.WriteError(w, http.StatusInternalServerError, err)
		return
	}
	service.WriteJSON(w, http.StatusOK, s)
}
