package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmqtt"
)

// In carries what is published under a filter into a topic. It is a [deed.Runner] and has
// to be kept as it is while it runs.
type In struct {
	Broker string // its URL, mqtt://HOST:PORT
	// Name names the bridge and, with "-in", its session at the broker, which keeps what is
	// published while the bridge is away. One program at a time runs under a name: another
	// takes the session over, and Run of the one before ends with [deedmqtt.ErrTaken] where
	// the broker says why it ends a connection; else the two end each other's.
	Name   string
	Filter string // MQTT's: "sensors/#", "+/temperature"
	Topic  *deed.Topic
	// Expiry is how long the broker keeps the session while the bridge is away. Zero means
	// a day.
	Expiry time.Duration
	// Share, if set, divides the messages among all bridges that have it, each under a name
	// of its own. The order of a topic's events is lost then.
	Share string
	// Retained carries what the broker keeps of each topic, too, when the session is new.
	Retained bool
	// Type is the type of an event that does not say it. Empty means the topic's name.
	Type string
	// Ready, if set, is called each time the broker has begun to pass messages on. What was
	// published before the first time, no broker has kept for the bridge.
	Ready func()
	// Logger is told when the broker is away. Nil means slog.Default.
	Logger *slog.Logger
}

const (
	expiryDefault = 24 * time.Hour
	batchMax      = 256  // events stored at once
	waitingMax    = 1024 // messages between the broker and the topic
)

// Run is called by Bus.Run.
func (in *In) Run(ctx context.Context, b *deed.Bus) error {
	if err := in.check(b); err != nil {
		return fmt.Errorf("deed: bridge %s: %w", in.Name, err)
	}
	log := in.Logger
	if log == nil {
		log = slog.Default()
	}
	log = log.With("bridge", in.Name, "filter", in.Filter, "topic", in.Topic.Name())
	short := 0 // connections in a row that did not last
	for wait := pauseMin; ; wait = min(2*wait, pauseMax) {
		began := time.Now()
		connected, err := in.carry(ctx, b, log)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, driver.ErrRefused), errors.Is(err, deedmqtt.ErrTaken):
			return fmt.Errorf("deed: bridge %s: %w", in.Name, err)
		case time.Since(began) > time.Minute:
			wait, short = pauseMin, 0
		case connected:
			short++
		}
		if short >= 3 { // not every broker says why
			err = fmt.Errorf("%w (another program may run a bridge of this name: each ends the other's connection)", err)
		}
		log.Warn("deed: the broker is away, trying again", "in", wait, "error", err)
		if !pause(ctx, wait) {
			return nil
		}
	}
}

func (in *In) check(b *deed.Bus) error {
	switch {
	case in.Name == "":
		return errors.New("Name is empty: the broker keeps by it what is published while the bridge is away")
	case in.Filter == "":
		return errors.New(`Filter is empty (want an MQTT filter, "sensors/#")`)
	case in.Topic == nil:
		return errors.New("Topic is nil")
	case b.Features().Ephemeral:
		return fmt.Errorf("topic %s: %s keeps nothing, so that the bridge would acknowledge what is lost "+
			"(open an engine that stores events): %w", in.Topic.Name(), b.Features().Engine, errors.ErrUnsupported)
	}
	return errors.Join(deed.CheckName("bridge", in.Name), deedmqtt.CheckURL(in.Broker), deedmqtt.CheckFilter(in.Filter))
}

// carry works until the connection is lost, or ctx ends, and reports whether there was one.
func (in *In) carry(ctx context.Context, b *deed.Bus, log *slog.Logger) (connected bool, err error) {
	expiry := in.Expiry
	if expiry == 0 {
		expiry = expiryDefault
	}
	carrying, done := context.WithCancel(ctx)
	defer done()
	heard := make(chan deedmqtt.Heard, waitingMax)
	s, err := deedmqtt.Dial(ctx, in.Broker, deedmqtt.SessionOptions{
		ClientID: in.Name + "-in", Expiry: expiry, ByHand: true,
		Hear: func(h deedmqtt.Heard) {
			if carrying.Err() != nil {
				return // it comes again, as do all behind it
			}
			select {
			case heard <- h:
			case <-carrying.Done():
			}
		},
	})
	if err != nil {
		return false, err
	}
	// A session that the broker has kept brings messages before the broker confirms anything,
	// and does not get to that while they wait.
	subscribed := make(chan error, 1)
	var subscribing sync.WaitGroup
	subscribing.Go(func() {
		sub := deedmqtt.Subscription{Filter: in.Filter, Share: in.Share, Retained: in.Retained}
		subscribed <- s.Subscribe(ctx, sub)
	})
	defer subscribing.Wait()
	defer s.Close() //nolint:errcheck // it has nothing to lose
	for {
		select {
		case err := <-subscribed:
			if err != nil {
				return true, err
			}
			if in.Ready != nil {
				in.Ready()
			}
		case h := <-heard:
			if err := in.store(ctx, b, log, gather(h, heard)); err != nil {
				return true, err
			}
		case <-s.Over():
			return true, s.Err()
		case <-ctx.Done():
			return true, nil
		}
	}
}

// gather returns what waits, at most a batch.
func gather(first deedmqtt.Heard, heard <-chan deedmqtt.Heard) []deedmqtt.Heard {
	some := []deedmqtt.Heard{first}
	for len(some) < batchMax {
		select {
		case h := <-heard:
			some = append(some, h)
		default:
			return some
		}
	}
	return some
}

// store publishes messages on the bus and acknowledges them to the broker. It tries until
// they are stored, or ctx ends.
func (in *In) store(ctx context.Context, b *deed.Bus, log *slog.Logger, some []deedmqtt.Heard) error {
	var drafts []deed.Draft
	for _, h := range some {
		if h.Message.Attributes[attrBridge] != in.Name { // else it went out by us
			drafts = append(drafts, in.draft(h))
		}
	}
	rest, err := in.publish(ctx, b, log, drafts)
	if errors.Is(err, driver.ErrRefused) {
		err = in.single(ctx, b, log, rest)
	}
	if err != nil {
		return err
	}
	for _, h := range some {
		if err := h.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// publish tries until every draft is stored, in order of their keys. It returns what is
// left when ctx ends or the bus refuses one of them.
func (in *In) publish(
	ctx context.Context, b *deed.Bus, log *slog.Logger, drafts []deed.Draft,
) (rest []deed.Draft, err error) {
	some := len(drafts) // at once: of a topic that is nearly full, what it has room for
	for wait := pauseMin; len(drafts) > 0; wait = min(2*wait, pauseMax) {
		some = min(some, len(drafts))
		err := b.Publish(context.WithoutCancel(ctx), drafts[:some]...)
		var failed *deed.PublishError
		switch {
		case err == nil:
			drafts, wait = drafts[some:], pauseMin/2
			continue
		case !errors.As(err, &failed):
			return drafts, err
		}
		drafts = append(left(drafts[:some], failed), drafts[some:]...)
		if errors.Is(err, driver.ErrFull) && some > 1 {
			some /= 2
			continue
		}
		if errors.Is(err, driver.ErrRefused) || errors.Is(err, deed.ErrExists) {
			return drafts, err
		}
		log.Warn("deed: storing what came from the broker failed, trying again",
			"events", len(drafts), "in", wait, "error", err)
		if !pause(ctx, wait) {
			return drafts, ctx.Err()
		}
	}
	return nil, nil
}

// single stores drafts one by one, of which the bus refuses one at least. A broker has
// nowhere to put that, and nothing behind it would get through: so what is stored in its
// place is its data alone, and where that is too large, its size and its digest.
func (in *In) single(ctx context.Context, b *deed.Bus, log *slog.Logger, drafts []deed.Draft) error {
	for _, d := range drafts {
		_, err := in.publish(ctx, b, log, []deed.Draft{d})
		for _, replace := range []func(deed.Draft, error) deed.Draft{in.bare, in.note} {
			if errors.Is(err, driver.ErrRefused) {
				log.Error("deed: the bus refuses what came from the broker",
					"mqtttopic", d.Extensions[attrTopic], "bytes", len(d.Data), "error", err)
				_, err = in.publish(ctx, b, log, []deed.Draft{replace(d, err)})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// left returns the drafts that are not stored for sure, in order.
func left(drafts []deed.Draft, failed *deed.PublishError) []deed.Draft {
	var rest []deed.Draft
	for i, d := range drafts {
		if slices.Contains(failed.NotStored, i) || slices.Contains(failed.Unknown, i) {
			rest = append(rest, d)
		}
	}
	return rest
}
