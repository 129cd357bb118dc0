package deedtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
	"github.com/deedgo/deed/sqldb"
)

// [service]

// Billing charges every order once and announces it.
func Billing(db *sqldb.DB, box *outbox.Outbox) *deed.Subscription {
	return deed.Subscribe("billing", nil,
		inbox.On(db, created, func(ctx context.Context, tx *sql.Tx, e deed.Received[order]) error {
			if e.Data.Total < 0 {
				return deed.Reject(errors.New("negative total"))
			}
			_, err := tx.ExecContext(ctx, `insert into charges (order_id, total) values (?, ?)`, e.Data.ID, e.Data.Total)
			if err != nil {
				return err
			}
			return box.Publish(ctx, tx, invoiced.New(invoice{Order: e.Data.ID}))
		}))
}

// [service]

const charges = "create table charges (order_id text, total integer)"

// [settle]
func TestBilling(t *testing.T) {
	db := database(t) // the service's own database, in t.TempDir()
	exec(t, db, charges)
	box := outbox.New(db, "/billing", nil)

	env := deedtest.New(t, nil)
	env.Start(Billing(db, box), box)
	env.Publish(created.New(order{ID: "o-1", Total: 4200}))
	env.Settle()

	got := deedtest.Events(env, invoiced)
	if len(got) != 1 || got[0].Order != "o-1" {
		t.Errorf("invoices %v, want one for o-1", got)
	}
}

// [settle]

// [twice]
func TestBillingChargesOnce(t *testing.T) {
	db := database(t)
	exec(t, db, charges)
	box := outbox.New(db, "/billing", nil)

	env := deedtest.New(t, &deedtest.Options{Twice: true})
	env.Start(Billing(db, box), box)
	env.Publish(created.New(order{ID: "o-1", Total: 4200}))
	env.Settle()

	if n := count(t, db, `select count(*) from charges`); n != 1 {
		t.Errorf("charged %d times, want once", n)
	}
	if n := len(env.Published(invoices)); n != 1 {
		t.Errorf("%d invoices, want one", n)
	}
}

// [twice]

// [dead]
func TestBillingRejectsNegativeTotals(t *testing.T) {
	db := database(t)
	exec(t, db, charges)
	box := outbox.New(db, "/billing", nil)

	env := deedtest.New(t, nil)
	env.Start(Billing(db, box), box)
	env.Publish(created.New(order{ID: "o-1", Total: -1}))
	env.Settle()

	dead := env.DeadLetters("billing")
	if len(dead) != 1 || dead[0].Error != "negative total" {
		t.Errorf("dead letters %v, want one for the negative total", dead)
	}
}

// [dead]

// [bubble]
func TestMailIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		mail := deed.Subscribe("mail", nil,
			deed.On(invoiced, func(ctx context.Context, e deed.Received[invoice]) error {
				if attempts++; attempts < 4 {
					return errors.New("mailbox is full")
				}
				return nil
			}))

		env := deedtest.New(t, nil)
		env.Start(mail)
		began := time.Now()
		env.Publish(invoiced.New(invoice{Order: "o-1"}))
		env.Settle() // returns at once, some seconds later

		if attempts != 4 {
			t.Errorf("%d attempts after %v, want 4", attempts, time.Since(began))
		}
	})
}

// [bubble]

// [down]
func TestShippingCatchesUp(t *testing.T) {
	shipped := 0
	shipping := deed.Subscribe("shipping", nil,
		deed.On(created, func(ctx context.Context, e deed.Received[order]) error {
			shipped++
			return nil
		}))

	env := deedtest.New(t, nil)
	stop := env.Start(shipping)
	stop() // it is deployed anew
	env.Publish(created.New(order{ID: "o-1", Total: 4200}))
	env.Start(shipping)
	env.Settle()

	if shipped != 1 {
		t.Errorf("shipped %d orders, want 1", shipped)
	}
}

// [down]
