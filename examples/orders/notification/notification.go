// Package notification is the service that tells customers what became of their
// order, by a mail service that it reaches over HTTP.
package notification

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/service"
	"github.com/deedgo/deed/sqldb"
)

const schema = `
CREATE TABLE IF NOT EXISTS mails (
	order_id TEXT PRIMARY KEY,
	subject  TEXT NOT NULL,
	sent     TEXT NOT NULL
)`

// Mail is what the mail service takes.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Order   string `json:"order"`
}

// Run is the service: it works until ctx ends. Mails go to the HTTP API at mailURL.
func Run(ctx context.Context, cfg service.Config, mailURL string) error {
	s, err := service.Open(ctx, "notification", cfg, schema)
	if err != nil {
		return err
	}
	n := &notification{db: s.DB, mailURL: mailURL, client: &http.Client{Timeout: 5 * time.Second}}
	// The mail service is known to stumble, so the first retry comes soon.
	outcomes := deed.Subscribe("notification", &deed.SubscribeOptions{Retry: deed.Retry{Min: 50 * time.Millisecond}},
		deed.On(events.OrderConfirmed, n.confirmed),
		deed.On(events.OrderCancelled, n.cancelled))
	return s.Run(ctx, http.NewServeMux(), outcomes)
}

type notification struct {
	db      *sqldb.DB
	mailURL string
	client  *http.Client
}

func (n *notification) confirmed(ctx context.Context, e deed.Received[events.Confirmed]) error {
	return n.send(ctx, Mail{To: e.Data.Customer, Subject: "Your order is on its way", Order: e.Data.OrderID})
}

func (n *notification) cancelled(ctx context.Context, e deed.Received[events.Cancelled]) error {
	return n.send(ctx, Mail{To: e.Data.Customer, Subject: "We are sorry: " + e.Data.Reason, Order: e.Data.OrderID})
}

// send is a call to a system that shares no transaction with us, so it may happen
// twice: after a crash, or when its answer was lost. The idempotency key, the same
// on every try, is how the other side knows.
func (n *notification) send(ctx context.Context, m Mail) error {
	body, err := json.Marshal(m)
	if err != nil {
		return deed.Reject(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.mailURL+"/mails", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", deed.IdempotencyKey(ctx, "mail"))
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("mail for order %s: the mail service answered %s", m.Order, resp.Status)
	}
	return n.remember(ctx, m)
}

func (n *notification) remember(ctx context.Context, m Mail) error {
	return n.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO mails (order_id, subject, sent) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			m.Order, m.Subject, time.Now().UTC().Format(time.RFC3339Nano))
		return err
	})
}
