package deed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// losing is an engine that may say of what was deleted that it has lost it, and that
// is away at first.
type losing struct {
	driver.Conn
	loses bool
	away  atomic.Int32 // so many calls of Subscribe fail
}

func (c *losing) Unwrap() driver.Conn { return c.Conn }

// lose adds what a server says that came back empty.
func (c *losing) lose(err error) error {
	if c.loses && errors.Is(err, driver.ErrNotFound) {
		return fmt.Errorf("%w: %w", driver.ErrLost, err)
	}
	return err
}

func (c *losing) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if c.away.Add(-1) >= 0 {
		return nil, fmt.Errorf("%w: connection refused", driver.ErrAway)
	}
	s, err := c.Conn.Subscribe(ctx, spec)
	return &losingSubscription{s, c}, err
}

type losingSubscription struct {
	driver.Subscription
	c *losing
}

func (s *losingSubscription) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	r, err := s.Subscription.Receive(ctx, f)
	return r, s.c.lose(err)
}

func openLosing(t *testing.T, loses bool) (*deed.Bus, *losing) {
	c := &losing{loses: loses}
	return openBusWith(t, "mem:", func(conn driver.Conn) driver.Conn {
		c.Conn = conn
		return c
	}), c
}

func deleteNotes(t *testing.T, bus *deed.Bus) {
	t.Helper()
	topics, _ := driver.As[driver.Topics](bus.Conn())
	if err := topics.DeleteTopic(t.Context(), notes.Name()); err != nil {
		t.Fatal(err)
	}
}

// A topic that the engine has lost is made anew, and the group reads it from its
// beginning, although it was to begin at the end.
func TestLostTopicIsMadeAnew(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, _ := openLosing(t, true)
		var j journal
		start(t, bus, deed.Subscribe("g", &deed.SubscribeOptions{From: deed.FromEnd()},
			deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
				j.add(e.Data)
				return nil
			})))
		time.Sleep(time.Second)
		publish(t, bus, note{"k", 1})
		time.Sleep(time.Second)
		deleteNotes(t, bus)
		if err := bus.Publish(t.Context(), noted.New(note{"k", 2})); err != nil && !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("publishing to a topic that is gone: %v", err)
		}
		publish(t, bus, note{"k", 3}) // before the group has joined again, or after
		time.Sleep(time.Minute)
		if got := j.of("k"); !slices.Equal(got, []int{1, 3}) && !slices.Equal(got, upTo(3)) {
			t.Errorf("handled %v, want 1 and 3, and 2 if it was stored", got)
		}
	})
}

func TestDeletedTopicEndsRun(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, _ := openLosing(t, false)
		publish(t, bus, note{"k", 1})
		ended := make(chan error, 1)
		go func() { ended <- bus.Run(t.Context(), group("g", func(note) {})) }()
		time.Sleep(time.Second)
		deleteNotes(t, bus)
		if err := <-ended; !errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrLost) {
			t.Errorf("Run: %v, want ErrNotFound", err)
		}
	})
}

func TestRunWaitsForAnEngineThatIsAway(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus, c := openLosing(t, false)
		c.away.Store(5)
		publish(t, bus, note{"k", 1})
		var j journal
		stop := start(t, bus, group("g", j.add))
		time.Sleep(time.Minute)
		if got := j.of("k"); !slices.Equal(got, []int{1}) {
			t.Errorf("handled %v, want 1", got)
		}
		stop()
		c.away.Store(1 << 30)
		stop = start(t, bus, group("other", j.add))
		time.Sleep(time.Minute)
		stop() // ends it although it has not joined
	})
}

// A topic that somebody has deleted and made anew is not what a publisher knew: it is told
// so once, and publishes on.
func TestPublishingToATopicMadeAnew(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		bus := openBus(t, "mem:")
		publish(t, bus, note{"k", 1})
		deleteNotes(t, bus)
		topics, _ := driver.As[driver.Topics](bus.Conn())
		if _, err := topics.CreateTopic(t.Context(), notes.Name(), driver.TopicSettings{Partitions: 3}); err != nil {
			t.Fatal(err)
		}
		var failed *deed.PublishError
		err := bus.Publish(t.Context(), noted.New(note{"k", 2}))
		if !errors.As(err, &failed) || len(failed.NotStored) != 1 || !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("Publish: %v, want ErrNotFound", err)
		}
		publish(t, bus, note{"k", 3})
		runs := []deed.Sequenced{{Topic: notes, Partition: 0, Producer: "p", Seq: 2}}
		if errs := bus.PublishSequenced(t.Context(), runs); !errors.Is(errs[0], driver.ErrGap) {
			t.Errorf("asking whether the first of a producer is stored: %v, want ErrGap", errs[0])
		}
	})
}

// group is a group that shows what it handles.
func group(name string, show func(note)) *deed.Subscription {
	return deed.Subscribe(name, nil, deed.On(noted, func(_ context.Context, e deed.Received[note]) error {
		show(e.Data)
		return nil
	}))
}
