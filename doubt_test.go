package deed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// failing is an engine whose answer to the first batch gets lost, and which is away
// then for a number of calls.
type failing struct {
	*deedmem.Conn
	calls, away int
}

func (f *failing) Publish(ctx context.Context, bs []driver.Batch) ([]driver.Receipt, error) {
	f.calls++
	switch {
	case f.calls == 1:
		if _, err := f.Conn.Publish(ctx, bs); err != nil {
			return nil, err
		}
		return nil, errors.New("the answer got lost")
	case f.calls <= f.away:
		return nil, fmt.Errorf("%w: connection refused", driver.ErrNotStored)
	}
	return f.Conn.Publish(ctx, bs)
}

// An event may be stored by a try whose answer got lost. That all later ones stored
// nothing does not change that: its outcome is unknown, and the next event, of the same
// partition, is not taken for it.
func TestLaterTriesDoNotSettleADoubt(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		conn, err := deedmem.Open(t.Context(), "mem:", nil)
		if err != nil {
			t.Fatal(err)
		}
		bus, err := deed.New(&failing{Conn: conn, away: 4}, &deed.Options{Source: "/test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { bus.Close() })
		err = bus.Publish(t.Context(), noted.New(note{"key", 1}))
		var failed *deed.PublishError
		if !errors.As(err, &failed) || len(failed.Unknown) != 1 || len(failed.NotStored) != 0 {
			t.Errorf("publish: %v (%+v), want an unknown outcome", err, failed)
		}
		if errors.Is(err, driver.ErrNotStored) {
			t.Errorf("publish: %v says that nothing is stored", err)
		}
		publish(t, bus, note{"key", 2})
		var j journal
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
			j.add(e.Data)
			return nil
		})))
		time.Sleep(time.Second)
		if got := j.of("key"); fmt.Sprint(got) != "[1 2]" {
			t.Errorf("handled %v, want 1 and 2", got)
		}
	})
}
