package deed_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
)

// obstructed is an engine that says when a partition stops and goes on.
type obstructed struct {
	driver.Conn
	news chan driver.Stopped
}

func (o obstructed) Unwrap() driver.Conn { return o.Conn }

func (o obstructed) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	s, err := o.Conn.Subscribe(ctx, spec)
	return obstructedSubscription{s, o.news}, err
}

type obstructedSubscription struct {
	driver.Subscription
	news chan driver.Stopped
}

func (s obstructedSubscription) Receive(ctx context.Context, f driver.Fetch) (got driver.Received, err error) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	got, err = s.Subscription.Receive(ctx, f)
	select {
	case x := <-s.news:
		got.Stopped, err = append(got.Stopped, x), nil
	default:
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return got, err
}

// A partition that an engine cannot read on is in the log, once, and in the lag.
func TestStoppedPartition(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		conn, err := deedmem.Open(t.Context(), "mem:", nil)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		engine := obstructed{conn, make(chan driver.Stopped, 2)}
		bus, err := deed.New(engine, &deed.Options{Source: "/test", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { bus.Close() })
		var j journal
		start(t, bus, deed.Subscribe("g", nil, deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
			j.add(e.Data)
			return nil
		})))
		time.Sleep(time.Second)
		says := func() (statuses []string) {
			lags, err := conn.Lag(t.Context(), "g", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range lags {
				if l.Status != "" {
					statuses = append(statuses, l.Status)
				}
			}
			return statuses
		}
		engine.news <- driver.Stopped{Partition: 0, Err: errors.New("an obstacle")}
		time.Sleep(time.Second)
		if got := strings.Join(says(), "; "); got != "stopped: an obstacle" {
			t.Errorf("the lag says %q", got)
		}
		publish(t, bus, note{"key", 1})
		time.Sleep(time.Second)
		if got := j.of("key"); len(got) != 1 {
			t.Errorf("handled %v, want 1: the engine delivers", got)
		}
		engine.news <- driver.Stopped{Partition: 0}
		time.Sleep(time.Second)
		if got := says(); len(got) != 0 {
			t.Errorf("it goes on, and the lag says %q", got)
		}
		if n := strings.Count(log.String(), "an obstacle"); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("the obstacle is logged %d times, want once, as an error:\n%s", n, log.String())
		}
	})
}
