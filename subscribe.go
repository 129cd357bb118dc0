package deed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// Received is an event that a handler is called for, with its value. It is a plain
// struct, so that a test calls a handler directly.
type Received[T any] struct {
	Event
	Data T // hides Event.Data, the bytes

	Delivery
}

// Delivery says how an event came to a handler.
type Delivery struct {
	Topic    string
	Group    string
	Position string // "3-1042": comparable only within a partition
	Stored   time.Time
	// Attempt counts the tries of this event, from 1. Tries that a crash ended and
	// those during an outage are not counted.
	Attempt int
	// Replay says that the group had handled the event before it was reset.
	Replay bool
	// Quiet says that the reset was to leave effects alone: the outbox and Publish
	// are silent, and an inbox handler's effect is not repeated.
	Quiet bool
	// Run counts the group's resets on the topic.
	Run int
	// Lease is how long the member keeps the partition without a word from it. A
	// transaction that is idle for longer is a frozen handler's.
	Lease time.Duration

	held *held // nil when no bus delivered it
}

// held is what the deliveries of a claimed partition share.
type held struct {
	conn  driver.Conn
	claim driver.Claim
}

// Held returns the engine that delivered an event, the claim under which it did, and the
// event's position as the engine has it; a nil Conn when no bus delivered it, as in a test
// or a rehearsal. It is for packages that settle events with the engine, as inbox does.
func (d *Delivery) Held() (conn driver.Conn, c driver.Claim, position string) {
	if d.held == nil {
		return nil, driver.Claim{}, ""
	}
	_, position, _ = strings.Cut(d.Position, "-")
	return d.held.conn, d.held.claim, position
}

// HandlerFunc handles one event with its data as bytes.
type HandlerFunc func(ctx context.Context, e Received[[]byte]) error

// Middleware wraps handlers: it sees every event of a group before they do, and
// every verdict. It is not called for the batches of [OnBatch].
type Middleware func(next HandlerFunc) HandlerFunc

// Handler is code run for the events of a type. On, OnBatch and OnAny make it.
type Handler struct {
	topic    *Topic
	typeName string // "" for OnAny
	version  int
	one      HandlerFunc
	batch    func(ctx context.Context, events []Received[[]byte]) error
	maxBatch int

	keyed      bool // its events have an order
	replaySafe bool
	rehearsed  bool
}

// ReplaySafe declares that h may handle again what the group had handled before it
// was reset, because it only repeats what it did: it keeps a view, a cache, a count
// by id. After a quiet reset only such handlers see replayed events.
func ReplaySafe(h Handler) Handler {
	h.replaySafe = true
	return h
}

// Rehearsed declares that h undoes everything it did when it is called for a
// rehearsal, see [Rehearsal]. Package inbox makes such handlers.
func Rehearsed(h Handler) Handler {
	h.rehearsed = true
	return h
}

// On handles the events of one type, one at a time per key, different keys in
// parallel.
func On[T any](t *Type[T], handle func(ctx context.Context, e Received[T]) error) Handler {
	one := func(ctx context.Context, r Received[[]byte]) error {
		v, err := t.Decode(r.Event)
		if err != nil {
			return undecodable(err)
		}
		return handle(ctx, Received[T]{Event: r.Event, Data: v, Delivery: r.Delivery})
	}
	return Handler{topic: t.topic, typeName: t.name, version: t.version, keyed: t.key != nil, one: one}
}

// OnBatch handles up to limit events of one type at once, from any keys, each
// key's in order. It takes what is there and waits for no more. A [BatchError]
// fails some; on any other error the events are handled again one by one.
// Middleware is not called for batches.
func OnBatch[T any](t *Type[T], limit int, handle func(ctx context.Context, events []Received[T]) error) Handler {
	return Handler{topic: t.topic, typeName: t.name, version: t.version, keyed: t.key != nil, maxBatch: limit,
		batch: func(ctx context.Context, rs []Received[[]byte]) error {
			return decodeBatch(ctx, t, rs, handle)
		}}
}

// errBehind keeps an event from being handled before a failed one of its key.
var errBehind = errors.New("waits behind an event of its key that cannot be decoded")

// decodeBatch keeps an event that cannot be decoded from failing the others, but
// for those behind it of the same key.
func decodeBatch[T any](
	ctx context.Context, t *Type[T], rs []Received[[]byte], handle func(context.Context, []Received[T]) error,
) error {
	events := make([]Received[T], 0, len(rs))
	index := make([]int, 0, len(rs))
	failed := BatchError{}
	held := make(map[string]bool)
	for i, r := range rs {
		if r.Key != "" && held[r.Key] {
			failed[i] = errBehind
			continue
		}
		v, err := t.Decode(r.Event)
		if err != nil {
			failed[i] = undecodable(err)
			held[r.Key] = true
			continue
		}
		events = append(events, Received[T]{Event: r.Event, Data: v, Delivery: r.Delivery})
		index = append(index, i)
	}
	if len(events) > 0 {
		err := handle(ctx, events)
		var some BatchError
		switch {
		case errors.As(err, &some):
			for i, e := range some {
				if i >= 0 && i < len(index) {
					failed[index[i]] = e
				}
			}
		case err != nil && len(failed) == 0:
			return err
		case err != nil:
			for _, i := range index {
				failed[i] = err
			}
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// OnAny handles all events of a topic that no other handler of the subscription
// is for, with their data as bytes: for views over many types, audits, bridges.
func OnAny(t *Topic, handle HandlerFunc) Handler {
	return Handler{topic: t, one: handle}
}

// SubscribeOptions configure a subscription. The zero value is the default.
type SubscribeOptions struct {
	// From is where a new group starts. Zero means the beginning of the topic.
	From From
	// Retry is what happens to an event whose handler failed.
	Retry Retry
	// Parallel is how many handlers run at once in this process. Zero means 16.
	// With 1 events are handled as they came, across keys too, but for retries.
	Parallel int
	// Timeout cancels a handler's context. Zero means never.
	Timeout time.Duration
	// SkipDead lets the events behind a dead letter of the same key through. It
	// gives up that key's order.
	SkipDead bool
	// MaxCrashes is how often an event may end its process before it becomes a
	// dead letter. Zero means 3.
	MaxCrashes int
	// InFlightBytes bounds the data of events fetched and not yet handled in this
	// process. Zero means 64 MiB.
	InFlightBytes int
	// Middleware wraps the subscription's handlers inside the bus's own.
	Middleware []Middleware
}

func (o SubscribeOptions) withDefaults() SubscribeOptions {
	o.Retry = o.Retry.withDefaults()
	if o.Parallel == 0 {
		o.Parallel = 16
	}
	if o.MaxCrashes == 0 {
		o.MaxCrashes = 3
	}
	if o.InFlightBytes == 0 {
		o.InFlightBytes = 64 << 20
	}
	return o
}

func (o SubscribeOptions) validate() error {
	var errs []error
	if err := o.Retry.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.Parallel < 1 {
		errs = append(errs, fmt.Errorf("Parallel is %d (want at least 1)", o.Parallel))
	}
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("Timeout is %v (want 0 or more)", o.Timeout))
	}
	if o.MaxCrashes < 1 {
		errs = append(errs, fmt.Errorf("MaxCrashes is %d (want at least 1)", o.MaxCrashes))
	}
	if o.InFlightBytes < 1 {
		errs = append(errs, fmt.Errorf("InFlightBytes is %d (want at least 1)", o.InFlightBytes))
	}
	return errors.Join(errs...)
}

// Subscription is a group with its handlers. It is a value: nothing happens until
// it is given to Bus.Run, and it may run on several buses.
type Subscription struct {
	group    string
	opts     SubscribeOptions
	handlers []Handler
	listens  bool // made by Listen
}

// Subscribe declares what group does about the events of its handlers' topics. A
// nil opts means defaults. Mistakes are reported by Bus.Run.
func Subscribe(group string, opts *SubscribeOptions, handlers ...Handler) *Subscription {
	s := &Subscription{group: group, handlers: handlers}
	if opts != nil {
		s.opts = *opts
	}
	s.opts = s.opts.withDefaults()
	return s
}

// Group returns the group's name.
func (s *Subscription) Group() string { return s.group }

func undecodable(err error) error { return &rejectError{&undecodableError{err}} }

type undecodableError struct{ err error }

func (e *undecodableError) Error() string { return e.err.Error() }
func (e *undecodableError) Unwrap() error { return e.err }
