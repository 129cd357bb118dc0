package deedtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deadletter"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/outbox"
)

// A handler publishes directly, another one through an outbox, and a third group
// responds to that.
func TestSettleWaitsForWhatHandlersCause(t *testing.T) {
	everywhere(t, func(t *testing.T, o deedtest.Options) {
		db := database(t)
		box := outbox.New(db, "/billing", nil)
		env := deedtest.New(t, &o)
		approved := deed.NewType(orders, "orders.approved", 1, func(o order) string { return o.ID })
		env.Start(
			deed.Subscribe("approval", nil,
				deed.On(created, func(ctx context.Context, e deed.Received[order]) error {
					return env.Bus.Publish(ctx, approved.New(e.Data))
				})),
			deed.Subscribe("billing", nil,
				inbox.On(db, approved, func(ctx context.Context, tx *sql.Tx, e deed.Received[order]) error {
					return box.Publish(ctx, tx, invoiced.New(invoice{e.Data.ID}))
				})),
			box)
		var mailed calls
		env.Start(deed.Subscribe("mail", nil,
			deed.On(invoiced, func(_ context.Context, e deed.Received[invoice]) error {
				mailed.add(e.Data.Order)
				return nil
			})))

		for _, id := range []string{"o-1", "o-2", "o-3"} {
			env.Publish(created.New(order{ID: id}))
		}
		env.Settle()
		for _, id := range []string{"o-1", "o-2", "o-3"} {
			if n := mailed.get(id); n != 1 {
				t.Errorf("%s was mailed %d times when all was settled, want once", id, n)
			}
		}
		env.Settle() // nothing is left to do
	})
}

func TestSettleWaitsForRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := deedtest.New(t, &deedtest.Options{Timeout: time.Hour})
		var tried calls
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				switch n := tried.add(e.Data.ID); {
				case e.Data.ID == "soon" && n < 4:
					return errors.New("busy") // waits in memory
				case e.Data.ID == "later" && n == 1:
					return deed.RetryAfter(10*time.Minute, errors.New("closed")) // parks
				}
				return nil
			})))
		env.Publish(created.New(order{ID: "soon"}), created.New(order{ID: "later"}), created.New(order{ID: "later"}))
		env.Settle()
		if soon, later := tried.get("soon"), tried.get("later"); soon != 4 || later != 3 {
			t.Errorf("tried %d and %d times, want 4 and 3", soon, later)
		}
	})
}

func TestDeadLettersAreAtRest(t *testing.T) {
	everywhere(t, func(t *testing.T, o deedtest.Options) {
		env := deedtest.New(t, &o)
		var tried calls
		var repaired calls
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				if e.Data.Total < 0 && repaired.get("it") == 0 {
					return deed.Reject(errors.New("negative total"))
				}
				tried.add(e.Data.ID)
				return nil
			})))
		env.Publish(created.New(order{"bad", -1}), created.New(order{"bad", 1}), created.New(order{"good", 1}))
		env.Settle()
		dead := env.DeadLetters("billing")
		if len(dead) != 1 || dead[0].Error != "negative total" || dead[0].Event.Key != "bad" {
			t.Fatalf("dead letters %+v, want the one with the negative total", dead)
		}
		if bad, good := tried.get("bad"), tried.get("good"); bad != 0 || good != 1 {
			t.Errorf("handled %d of the held back key and %d of the other, want 0 and 1", bad, good)
		}
		if others := env.DeadLetters("shipping"); len(others) != 0 {
			t.Errorf("dead letters of another group: %+v", others)
		}

		repaired.add("it")
		if n, err := deadletter.Redrive(t.Context(), env.Bus, nil, nil); n != 1 || err != nil {
			t.Fatalf("redrove %d, error %v", n, err)
		}
		env.Settle()
		if n := tried.get("bad"); n != 2 || len(env.DeadLetters("")) != 0 {
			t.Errorf("handled %d of the key when settled, dead letters %+v; want 2 and none", n, env.DeadLetters(""))
		}
	})
}

// A service that is down holds nothing up, and catches up when it is back.
func TestStoppedGroupIsNotWaitedFor(t *testing.T) {
	everywhere(t, func(t *testing.T, o deedtest.Options) {
		env := deedtest.New(t, &o)
		var tried calls
		handle := func(group string) *deed.Subscription {
			return deed.Subscribe(group, nil,
				deed.On(created, func(context.Context, deed.Received[order]) error {
					tried.add(group)
					return nil
				}))
		}
		env.Start(handle("billing"))
		stop := env.Start(handle("shipping"))
		stop()
		env.Publish(created.New(order{ID: "o-1"}))
		env.Settle()
		if b, s := tried.get("billing"), tried.get("shipping"); b != 1 || s != 0 {
			t.Errorf("billing handled %d and shipping %d, want 1 and 0", b, s)
		}
		env.Start(handle("shipping"))
		env.Settle()
		if s := tried.get("shipping"); s != 1 {
			t.Errorf("shipping handled %d when it was back, want 1", s)
		}
	})
}

// Reminders are at rest until their time comes, on the bus and in an outbox.
func TestDelayedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := database(t)
		box := outbox.New(db, "/billing", nil)
		env := deedtest.New(t, nil)
		var reminded calls
		env.Start(box, deed.Subscribe("reminders", nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				reminded.add(e.Data.ID)
				return nil
			})))
		later := created.New(order{ID: "direct"})
		later.NotBefore = time.Now().Add(2 * time.Minute)
		env.Publish(later)
		later = created.New(order{ID: "outbox"})
		later.NotBefore = time.Now().Add(time.Minute)
		err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return box.Publish(ctx, tx, later) })
		if err != nil {
			t.Fatal(err)
		}
		env.Settle()
		if d, o := reminded.get("direct"), reminded.get("outbox"); d != 0 || o != 0 {
			t.Errorf("reminded %d and %d times, want not yet", d, o)
		}
		time.Sleep(time.Minute)
		env.Settle()
		if d, o := reminded.get("direct"), reminded.get("outbox"); d != 0 || o != 1 {
			t.Errorf("reminded %d and %d times after a minute, want 0 and 1", d, o)
		}
		time.Sleep(time.Minute)
		env.Settle()
		if d, o := reminded.get("direct"), reminded.get("outbox"); d != 1 || o != 1 {
			t.Errorf("reminded %d and %d times after two, want once each", d, o)
		}
	})
}

func TestRead(t *testing.T) {
	env := deedtest.New(t, nil)
	if events := env.Published(orders); events != nil {
		t.Errorf("a topic that is not there has %v", events)
	}
	second := deed.NewType(orders, "orders.created", 2, func(o order) string { return o.ID })
	env.Publish(created.New(order{"o-1", 10}), second.New(order{"o-1", 20}), created.New(order{"o-1", 30}))
	if events := env.Published(orders); len(events) != 3 || events[0].Source != "/test" || events[1].Version != 2 {
		t.Errorf("published %+v", events)
	}
	got := deedtest.Events(env, created)
	if len(got) != 2 || got[0].Total != 10 || got[1].Total != 30 {
		t.Errorf("events of version 1 say %v, want totals 10 and 30", got)
	}
}
