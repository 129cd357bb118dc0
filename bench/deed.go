package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// deedVariant is what a case changes about deed.
type deedVariant struct {
	codec   codecKind
	window  bool // the topic has an id window
	fromEnd bool // the group starts at the end of what is there
	pack    bool // a batch is stored as one entry

	state       string // URL of a second engine
	publishOnly bool   // nobody reads: an event counts as handled when it is accepted
}

// plain is what deed's cases publish without a codec.
type plain struct {
	key  string
	data []byte
}

// rawCodec passes bytes on: the codec's cost is measured apart from the engine's.
type rawCodec struct{}

func (rawCodec) ContentType() string          { return "application/octet-stream" }
func (rawCodec) Encode(v any) ([]byte, error) { return v.(plain).data, nil }
func (rawCodec) Decode(data []byte, v any) error {
	v.(*plain).data = data
	return nil
}

// deedSystem measures deed as users run it: a typed publish, a group with a
// handler, all defaults.
func deedSystem(name, scheme, durability string, v *deedVariant) system {
	return system{name: name, durability: durability,
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			url := scheme + ":"
			if scheme == "sqlite" {
				url += filepath.Join(dir, "deed.db")
			}
			return openDeed(ctx, url, v, handle)
		}}
}

// openDeed opens a bus with one topic and one group.
func openDeed(ctx context.Context, url string, v *deedVariant, handle func([]byte)) (*started, error) {
	if v == nil {
		v = &deedVariant{}
	}
	bus, err := openBus(ctx, url, v.state)
	if err != nil {
		return nil, err
	}
	topicOpts := deed.TopicOptions{Pack: v.pack}
	if bus.Features().Retention {
		topicOpts.MaxBytes = deed.NoBound
	}
	if v.window {
		topicOpts.Dedupe = time.Hour
	}
	topic := deed.NewTopic("orders", &topicOpts)
	opts := &deed.SubscribeOptions{}
	if v.fromEnd {
		opts.From = deed.FromEnd()
	}
	draft, on := v.codec.ends(topic, handle)
	if v.publishOnly {
		return publishDeed(bus, draft, handle), nil
	}
	sub := deed.Subscribe("bench", opts, on)
	return startDeed(ctx, bus, sub, draft)
}

// openBus opens a bus that logs nothing: thousands of dead letters would fill the
// screen.
func openBus(ctx context.Context, url, state string) (*deed.Bus, error) {
	return engine.Open(ctx, url, &deed.Options{Source: "/bench", State: state, Logger: slog.New(slog.DiscardHandler)})
}

// publishDeed publishes, and that is all.
func publishDeed(bus *deed.Bus, draft func(event) deed.Draft, handle func([]byte)) *started {
	return &started{
		publish: func(ctx context.Context, events []event) error {
			drafts := make([]deed.Draft, len(events))
			for i := range events {
				drafts[i] = draft(events[i])
			}
			if err := bus.Publish(ctx, drafts...); err != nil {
				return err
			}
			for i := range events {
				handle(events[i].data)
			}
			return nil
		},
		stop: bus.Close,
	}
}

func startDeed(
	ctx context.Context, bus *deed.Bus, sub *deed.Subscription, draft func(event) deed.Draft,
) (*started, error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		defer cancel()
		runErr = bus.Run(ctx, sub)
	})
	if err := awaitGroup(ctx, bus, sub.Group()); err != nil {
		cancel()
		running.Wait()
		return nil, errors.Join(err, runErr, bus.Close())
	}
	return &started{
		publish: func(ctx context.Context, events []event) error {
			drafts := make([]deed.Draft, len(events))
			for i := range events {
				drafts[i] = draft(events[i])
			}
			return bus.Publish(ctx, drafts...)
		},
		stop: func() error {
			cancel()
			running.Wait()
			return errors.Join(runErr, bus.Close())
		},
	}, nil
}

// awaitGroup returns when the group has its partitions: one that starts at the end
// does not see what was published before.
func awaitGroup(ctx context.Context, bus *deed.Bus, group string) error {
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if !ok {
		return errors.New("the engine tells nothing of its groups")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		lags, err := groups.Lag(ctx, group, "")
		owned := len(lags) > 0
		for _, l := range lags {
			owned = owned && l.Member != ""
		}
		if owned || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
