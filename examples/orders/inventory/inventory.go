// Package inventory is the service that owns the stock: it sets things aside for each
// new order, or says that there are not enough of them.
package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

const schema = `
CREATE TABLE IF NOT EXISTS stock (
	sku      TEXT PRIMARY KEY,
	on_hand  INTEGER NOT NULL CHECK (on_hand >= 0), -- free to be sold
	reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0)
);
CREATE TABLE IF NOT EXISTS reservations (
	order_id TEXT NOT NULL,
	sku      TEXT NOT NULL,
	quantity INTEGER NOT NULL
)`

// Run is the service: it works until ctx ends.
func Run(ctx context.Context, cfg service.Config) error {
	s, err := service.Open(ctx, "inventory", cfg, schema)
	if err != nil {
		return err
	}
	i := &inventory{db: s.DB, box: outbox.New(s.DB, "/inventory", nil)}
	created := deed.Subscribe("inventory", nil, inbox.On(i.db, events.OrderCreated, i.reserve))
	return s.Run(ctx, i.routes(), i.box, created)
}

type inventory struct {
	db  *sqldb.DB
	box *outbox.Outbox
}

// reserve sets everything in an order aside, or nothing of it. Being out of stock
// is an answer and no error: trying again would not help the customer.
//
// The change of the stock, the memory that this order was handled, and the answer
// are one transaction: a crash at any point leaves all of them or none.
func (i *inventory) reserve(ctx context.Context, tx *sql.Tx, e deed.Received[events.Created]) error {
	reason, err := missing(ctx, tx, e.Data.Items)
	if err != nil {
		return err
	}
	if reason != "" {
		return i.box.Publish(ctx, tx, events.StockRejected.New(events.Rejected{OrderID: e.Data.OrderID, Reason: reason}))
	}
	for _, item := range e.Data.Items {
		if _, err := tx.ExecContext(ctx, `UPDATE stock SET on_hand = on_hand - ?1, reserved = reserved + ?1 WHERE sku = ?2`,
			item.Quantity, item.SKU); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO reservations (order_id, sku, quantity) VALUES (?, ?, ?)`,
			e.Data.OrderID, item.SKU, item.Quantity); err != nil {
			return err
		}
	}
	return i.box.Publish(ctx, tx, events.StockReserved.New(events.Reserved{OrderID: e.Data.OrderID}))
}

// missing names the first thing of which there is not enough, "" when all is there.
func missing(ctx context.Context, tx *sql.Tx, items []events.Item) (string, error) {
	need := make(map[string]int)
	for _, item := range items {
		need[item.SKU] += item.Quantity
		var onHand int
		err := tx.QueryRowContext(ctx, `SELECT on_hand FROM stock WHERE sku = ?`, item.SKU).Scan(&onHand)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return "", err
		}
		if onHand < need[item.SKU] {
			return fmt.Sprintf("%d of %s wanted, %d left", need[item.SKU], item.SKU, onHand), nil
		}
	}
	return "", nil
}

// Level is how much there is of one thing.
type Level struct {
	SKU      string `json:"sku"`
	OnHand   int    `json:"on_hand"`
	Reserved int    `json:"reserved"`
}

func (i *inventory) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /stock/{sku}", i.putStock)
	mux.HandleFunc("GET /stock", i.getStock)
	return mux
}

// putStock says how many pieces are free to be sold, as a stocktaking does.
func (i *inventory) putStock(w http.ResponseWriter, r *http.Request) {
	var level Level
	if err := json.NewDecoder(r.Body).Decode(&level); err != nil || level.OnHand < 0 {
		service.WriteError(w, http.StatusBadRequest, errors.New(`the body should be {"on_hand": 10}`))
		return
	}
	err := i.db.Tx(r.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO stock (sku, on_hand) VALUES (?1, ?2)
			ON CONFLICT (sku) DO UPDATE SET on_hand = ?2`, r.PathValue("sku"), level.OnHand)
		return err
	})
	if err != nil {
		service.WriteError(w, http.StatusInternalServerError, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (i *inventory) getStock(w http.ResponseWriter, r *http.Request) {
	levels, err := i.levels(r.Context())
	if err != nil {
		service.WriteError(w, http.StatusInternalServerError, err)
		return
	}
	service.WriteJSON(w, http.StatusOK, levels)
}

func (i *inventory) levels(ctx context.Context) ([]Level, error) {
	rows, err := i.db.SQL().QueryContext(ctx, `SELECT sku, on_hand, reserved FROM stock ORDER BY sku`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	levels := []Level{}
	for rows.Next() {
		var l Level
		if err := rows.Scan(&l.SKU, &l.OnHand, &l.Reserved); err != nil {
			return nil, err
		}
		levels = append(levels, l)
	}
	return levels, rows.Err()
}
