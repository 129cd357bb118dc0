package deedtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/engine/deedmem"
)

// bubble runs a test that fails in virtual time and returns what it failed with.
func bubble(t *testing.T, f func(t testing.TB)) (failures string) {
	synctest.Test(t, func(t *testing.T) { failures = try(t, f) })
	return failures
}

func TestSettleSaysWhatFails(t *testing.T) {
	failures := bubble(t, func(t testing.TB) {
		env := deedtest.New(t, nil)
		forever := deed.Retry{Attempts: deed.Forever, Max: time.Second}
		env.Start(deed.Subscribe("billing", &deed.SubscribeOptions{Retry: forever},
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				return errors.New("card declined")
			})))
		d := created.New(order{ID: "o-1"})
		d.ID = "e-1"
		env.Publish(d)
		env.Settle()
	})
	mentions(t, failures, "not settled after 30s", "group billing", "topic orders", "partition ", "1 events behind",
		`orders.created e-1 with key "o-1"`, "failed: card declined")
}

func TestSettleSaysWhatIsParked(t *testing.T) {
	failures := bubble(t, func(t testing.TB) {
		env := deedtest.New(t, nil)
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(context.Context, deed.Received[order]) error {
				return deed.RetryAfter(time.Hour, errors.New("bank is closed"))
			})))
		env.Publish(created.New(order{ID: "o-1"}), created.New(order{ID: "o-1"}), created.New(order{ID: "o-1"}))
		env.Settle()
	})
	mentions(t, failures, `group billing, topic orders, partition `, `key "o-1": orders.created`,
		"again at 01:00:00 after 1 attempts", "bank is closed", "2 events are behind")
}

func TestSettleSaysWhichHandlerDoesNotReturn(t *testing.T) {
	failures := bubble(t, func(t testing.TB) {
		env := deedtest.New(t, &deedtest.Options{Timeout: time.Minute})
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(ctx context.Context, _ deed.Received[order]) error {
				<-ctx.Done()
				return ctx.Err()
			})))
		env.Publish(created.New(order{ID: "o-1"}))
		env.Settle()
	})
	mentions(t, failures, "not settled after 1m0s", "attempt 1 is with its handler for 1m0")
}

func TestSettleSaysThatAGroupIsPaused(t *testing.T) {
	failures := bubble(t, func(t testing.TB) {
		conn, err := deedmem.Open(t.Context(), "mem:", nil)
		if err != nil {
			t.Fatalf("%v", err)
		}
		env := deedtest.New(t, &deedtest.Options{Conn: conn})
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(context.Context, deed.Received[order]) error { return nil })))
		if err := conn.PauseGroup(t.Context(), "billing", "orders", true); err != nil {
			t.Fatalf("%v", err)
		}
		env.Publish(created.New(order{ID: "o-1"}))
		env.Settle()
	})
	mentions(t, failures, "group billing, topic orders", "the group is paused")
}

// slowBox is an outbox whose relay gets nowhere.
type slowBox struct{}

func (slowBox) Run(ctx context.Context, _ *deed.Bus) error { <-ctx.Done(); return nil }

func (slowBox) Pending(context.Context) (int, error) { return 3, nil }

func TestSettleSaysWhatAnOutboxHolds(t *testing.T) {
	failures := bubble(t, func(t testing.TB) {
		env := deedtest.New(t, nil)
		stop := env.Start(slowBox{})
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(context.Context, deed.Received[order]) error { return nil })))
		stop()
		env.Settle() // nobody runs it
		env.Start(slowBox{})
		env.Settle()
	})
	mentions(t, failures, "outbox 1 of those started: 3 events not sent")
}

func TestFailedRunFailsTheTest(t *testing.T) {
	failures := try(t, func(t testing.TB) {
		env := deedtest.New(t, nil)
		env.Start(deed.Subscribe("billing", nil)) // without handlers
		env.Settle()
	})
	mentions(t, failures, "deedtest: Run: deed: group billing: no handlers", "nothing will, since Run failed")
}

func TestMistakes(t *testing.T) {
	for want, f := range map[string]func(t testing.TB){
		"both Conn and SQLite": func(t testing.TB) {
			conn, err := deedmem.Open(t.Context(), "mem:", nil)
			if err != nil {
				t.Fatalf("%v", err)
			}
			deedtest.New(t, &deedtest.Options{Conn: conn, SQLite: true})
		},
		"Options.Lease": func(t testing.TB) {
			deedtest.New(t, &deedtest.Options{Bus: deed.Options{Lease: 1}})
		},
		"the draft has no topic": func(t testing.TB) {
			deedtest.New(t, nil).Publish(deed.Draft{})
		},
		"data is no orders.created": func(t testing.TB) {
			env := deedtest.New(t, nil)
			env.Publish(deed.NewDraft(orders, deed.Event{Type: "orders.created", Data: []byte("{")}))
			deedtest.Events(env, created)
		},
	} {
		mentions(t, try(t, f), want)
	}
}
