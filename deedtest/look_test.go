package deedtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedtest"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// slowLetters lets something happen after Settle has looked at the letters first.
type slowLetters struct {
	*deedmem.Conn
	then func()
}

func (c *slowLetters) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	letters, err := c.Conn.List(ctx, f)
	c.then()
	return letters, err
}

// An event parks behind Settle's back: when it looks at the letters the event is with
// its handler, and when it looks at the lag the event is a letter.
func TestSettleIsNotFooledByWhatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, err := deedmem.Open(t.Context(), "mem:", nil)
		if err != nil {
			t.Fatal(err)
		}
		fail := make(chan struct{})
		env := deedtest.New(t, &deedtest.Options{Timeout: time.Hour, Conn: &slowLetters{mem, sync.OnceFunc(func() {
			close(fail)
			time.Sleep(time.Second) // it parks, and its position is stored
		})}})
		handled := false
		env.Start(deed.Subscribe("billing", nil,
			deed.On(created, func(_ context.Context, e deed.Received[order]) error {
				if e.Attempt == 1 {
					<-fail
					return deed.RetryAfter(time.Minute, errors.New("closed"))
				}
				handled = true
				return nil
			})))
		env.Publish(created.New(order{ID: "o-1"}))
		env.Settle()
		if !handled {
			t.Error("settled while an event waits for its next attempt")
		}
	})
}
