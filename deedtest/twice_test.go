package deedtest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/inbox"
)

func TestTwice(t *testing.T) {
	everywhere(t, func(t *testing.T, o deedtest.Options) {
		o.Twice = true
		db := database(t)
		exec(t, db, "create table sums (total integer); insert into sums values (0)")
		env := deedtest.New(t, &o)
		var single, batched calls
		add := func(c *calls, e deed.Received[order]) { c.add(fmt.Sprint(e.Data.ID, " ", e.Data.Total)) }
		env.Start(
			deed.Subscribe("single", nil,
				deed.On(created, func(_ context.Context, e deed.Received[order]) error {
					add(&single, e)
					return nil
				})),
			deed.Subscribe("batched", nil,
				deed.OnBatch(created, 10, func(_ context.Context, events []deed.Received[order]) error {
					for _, e := range events {
						add(&batched, e)
					}
					return nil
				})),
			deed.Subscribe("inbox", nil,
				inbox.On(db, created, func(ctx context.Context, tx *sql.Tx, e deed.Received[order]) error {
					_, err := tx.ExecContext(ctx, "update sums set total = total + ?", e.Data.Total)
					return err
				})))

		want := 0
		for round := range 2 {
			drafts := make([]deed.Draft, 20)
			for i := range drafts {
				total := 100*round + i
				drafts[i] = created.New(order{fmt.Sprint("o-", i%7), total})
				want += total
			}
			env.Publish(drafts...)
			env.Settle()
		}
		for _, e := range deedtest.Events(env, created) {
			name := fmt.Sprint(e.ID, " ", e.Total)
			if s, b := single.get(name), batched.get(name); s != 2 || b != 2 {
				t.Errorf("%s was handled %d times, and %d times in batches; want twice", name, s, b)
			}
		}
		if got := count(t, db, "select total from sums"); got != want {
			t.Errorf("the inbox added up %d, want %d: an effect was not there once", got, want)
		}
	})
}

// What comes again comes in the order of its key.
func TestTwiceKeepsOrder(t *testing.T) {
	env := deedtest.New(t, &deedtest.Options{Twice: true})
	var mu sync.Mutex
	seen := map[string][]int{}
	stop := env.Start(deed.Subscribe("billing", nil,
		deed.On(created, func(_ context.Context, e deed.Received[order]) error {
			mu.Lock()
			defer mu.Unlock()
			seen[e.Data.ID] = append(seen[e.Data.ID], e.Data.Total)
			return nil
		})))
	const n = 3000 // more than a window
	drafts := make([]deed.Draft, n)
	for i := range drafts {
		drafts[i] = created.New(order{fmt.Sprint("o-", i%2), i})
	}
	env.Publish(drafts...)
	env.Settle()
	stop()
	for key, totals := range seen {
		last, handled := -1, map[int]int{}
		for _, total := range totals {
			if handled[total] == 0 && total < last {
				t.Fatalf("%s: %d came first after %d", key, total, last)
			}
			handled[total]++
			last = max(last, total)
		}
		if len(handled) != n/2 {
			t.Errorf("%s: %d events were handled, want %d", key, len(handled), n/2)
		}
		for total, times := range handled {
			if times != 2 {
				t.Fatalf("%s: %d was handled %d times, want twice", key, total, times)
			}
		}
	}
}

func TestTwiceWithFailures(t *testing.T) {
	everywhere(t, func(t *testing.T, o deedtest.Options) {
		o.Twice = true
		env := deedtest.New(t, &o)
		var tried calls
		env.Start(deed.Subscribe("billing", &deed.SubscribeOptions{Retry: deed.Retry{Min: 1, Max: 1}},
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				n := tried.add(fmt.Sprint(e.Data.ID, e.Data.Total))
				switch {
				case e.Data.Total < 0:
					return deed.Reject(errors.New("negative total"))
				case e.Data.ID == "busy" && n == 1:
					return errors.New("busy")
				}
				return nil
			})))
		env.Publish(created.New(order{"bad", -1}), created.New(order{"bad", 1}),
			created.New(order{"busy", 1}), created.New(order{"good", 1}))
		env.Settle()
		if dead := env.DeadLetters("billing"); len(dead) != 1 || dead[0].Event.Key != "bad" {
			t.Errorf("dead letters %+v, want one", dead)
		}
		// What died comes again behind itself, where it stays as it is.
		for name, want := range map[string]int{"bad-1": 1, "bad1": 0, "busy1": 3, "good1": 2} {
			if n := tried.get(name); n != want {
				t.Errorf("%s was handled %d times, want %d", name, n, want)
			}
		}
	})
}

// Two members of a group share the partitions, and pass some on.
func TestTwiceWithTwoMembers(t *testing.T) {
	env := deedtest.New(t, &deedtest.Options{Twice: true})
	var tried calls
	billing := func() *deed.Subscription {
		return deed.Subscribe("billing", nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				tried.add(e.Data.ID)
				return nil
			}))
	}
	env.Start(billing())
	for i := range 40 {
		env.Publish(created.New(order{ID: fmt.Sprint("o-", i)}))
		if i == 20 {
			env.Start(billing())
		}
	}
	env.Settle()
	for i := range 40 {
		if n := tried.get(fmt.Sprint("o-", i)); n < 2 {
			t.Errorf("o-%d was handled %d times, want at least twice", i, n)
		}
	}
}
