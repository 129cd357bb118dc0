package deedamqp

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// A stream begins with a marker, which is no event. So a stream of deed always has something
// to give, and who is given nothing knows that it has lost its end, see read.go. The marker is
// at the offset 0, so that the first event is at 1.

const (
	// markerHeader says how many partitions the topic was made with.
	markerHeader = "deed-partitions"
	markerText   = "deed made this stream. This message is no event."

	lockPause = 20 * time.Millisecond
	// markerPatience is how long a stream may take to give its first message, that is there
	// and seems to have none. If it has one after all, a second marker does no harm.
	markerPatience = 2 * time.Second
)

func streamArguments() amqp.Table { return amqp.Table{amqp.QueueTypeArg: "stream"} }

// MakeTopic implements [driverkit.Feeder].
func (s *Streams) MakeTopic(ctx context.Context, topic string, partitions int) error {
	_, err := s.make(ctx, topic, partitions)
	return err
}

// MakeGroup implements [driverkit.Feeder]: groups share the streams.
func (s *Streams) MakeGroup(
	ctx context.Context, _, topic string, partitions int, known bool,
) (missing int, err error) {
	missing, err = s.make(ctx, topic, partitions)
	if !known { // else the topic was whole before
		missing = 0
	}
	return missing, err
}

// make makes what is missing of a topic, and returns of how many partitions that was.
func (s *Streams) make(ctx context.Context, topic string, partitions int) (missing int, err error) {
	if name := streamName(topic, partitions); len(name) > maxName {
		return 0, s.fail("streams of "+topic, fmt.Errorf("%w: a stream would have a name of %d bytes (at most %d)",
			driver.ErrRefused, len(name), maxName))
	}
	if err := s.Conn.MakeTopic(ctx, topic, partitions); err != nil {
		return 0, err
	}
	for p := 0; p < partitions; p++ {
		whole := false
		err := s.with(ctx, func(ch *amqp.Channel) (err error) {
			for ; p < partitions; p++ {
				if whole, err = s.whole(ctx, ch, topic, p, partitions); err != nil || !whole {
					return err
				}
			}
			return nil
		})
		if err == nil && whole {
			break
		}
		if err == nil || notFound(err) {
			var made bool
			if made, err = s.makeStream(ctx, topic, p, partitions); made {
				missing++
			}
		}
		if err != nil {
			return missing, s.fail("stream "+streamName(topic, p), err)
		}
	}
	return missing, nil
}

// whole reports whether a stream is there, bound, with something in it. That of partition 0
// says whether all are those of a topic with as many partitions.
func (s *Streams) whole(ctx context.Context, ch *amqp.Channel, topic string, p, partitions int) (bool, error) {
	name := streamName(topic, p)
	q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	if err != nil {
		return false, err
	}
	if q.Messages == 0 || p == 0 { // the count is some seconds old
		if any, err := s.marked(ctx, ch, name, partitions, nothingAfter); err != nil || !any {
			return false, err
		}
	}
	if s.settings.check {
		return true, nil
	}
	return true, ch.QueueBind(name, routingKey(p), topic, false, nil)
}

// marked reports whether a stream has something, within a time, and refuses one that is not
// of a topic of deed's with as many partitions.
func (s *Streams) marked(
	ctx context.Context, ch *amqp.Channel, name string, partitions int, patience time.Duration,
) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNothing)
	defer cancel()
	rs, _, err := s.read(ctx, ch, name, "first", 1)
	switch {
	case errors.Is(err, errNothing):
		return false, nil
	case err != nil:
		return false, err
	}
	at, err := offset(&rs[0])
	if err != nil || at > 0 { // the server has removed its beginning
		return err == nil, err
	}
	n, ok := marker(&rs[0])
	switch {
	case !ok:
		err = fmt.Errorf("%w: it is another one's: deed has not made it, for its first message is no marker",
			driver.ErrRefused)
	case n != int64(partitions):
		err = fmt.Errorf("%w: it is of a topic with %d partitions (want %d: delete the exchange and its streams, or use "+
			"another name)", driver.ErrRefused, n, partitions)
	}
	return err == nil, err
}

// marker returns how many partitions a marker speaks of; other messages are none.
func marker(r *amqp.Delivery) (partitions int64, ok bool) {
	partitions, ok = r.Headers[markerHeader].(int64)
	return partitions, ok
}

// makeStream makes a stream with its marker, or what is missing of that. One at a time does
// so, of all processes.
func (s *Streams) makeStream(ctx context.Context, topic string, p, partitions int) (made bool, err error) {
	name := streamName(topic, p)
	if s.settings.check {
		return false, fmt.Errorf("%w: it is not there or empty, and the URL says topology=check: make a durable queue with "+
			"%v, bind it to %s with the keys %s and %s, and let somebody open the topic who may publish to it without "+
			"topology=check", driver.ErrRefused, streamArguments(), topic, routingKey(p), markerKey(p))
	}
	s.making.Lock()
	defer s.making.Unlock()
	unlock, err := s.lock(ctx, topic)
	if err != nil {
		return false, err
	}
	defer unlock()
	err = s.with(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if made = notFound(err); err != nil && !made {
		return false, err
	}
	return made, s.with(ctx, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare(name, true, false, false, false, streamArguments()); err != nil {
			return err
		}
		if err := ch.QueueBind(name, markerKey(p), topic, false, nil); err != nil {
			return err
		}
		any := false
		if !made {
			if any, err = s.marked(ctx, ch, name, partitions, markerPatience); err != nil {
				return err
			}
		}
		if !any {
			if err := mark(ctx, ch, topic, p, partitions); err != nil {
				return err
			}
		}
		return ch.QueueBind(name, routingKey(p), topic, false, nil) // events come after the marker
	})
}

// mark stores a marker.
func mark(ctx context.Context, ch *amqp.Channel, topic string, p, partitions int) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	stored, err := ch.PublishWithDeferredConfirmWithContext(ctx, topic, markerKey(p), true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: []byte(markerText),
		Headers: amqp.Table{markerHeader: int64(partitions)},
	})
	if err != nil {
		return err
	}
	ok, err := stored.WaitContext(ctx)
	switch {
	case err != nil:
		return err
	case !ok || len(returns) > 0:
		return fmt.Errorf("%w: the server has not stored its marker", driver.ErrAway)
	}
	return nil
}

// lock waits until nobody else makes streams of a topic. The lock is a queue that only one
// connection may have, and that ends with it.
func (s *Streams) lock(ctx context.Context, topic string) (unlock func(), err error) {
	name := lockName(topic)
	for {
		err := s.with(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, false, true, true, false, nil)
			return err
		})
		if code(err) != amqp.ResourceLocked {
			return func() {
				_ = s.with(context.Background(), func(ch *amqp.Channel) error { // else the connection is gone, and it
					_, err := ch.QueueDelete(name, false, false, false)
					return err
				})
			}, err
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// DropTopic implements [driverkit.Feeder]. The exchange goes first, so that nothing comes
// any more.
func (s *Streams) DropTopic(ctx context.Context, topic string, partitions int, _ []string) error {
	if err := s.Conn.DropTopic(ctx, topic, partitions, nil); err != nil {
		return err
	}
	for p := range partitions {
		name := streamName(topic, p)
		s.forget(name)
		err := s.with(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(name, false, false, false)
			return err
		})
		if err != nil && !notFound(err) {
			return s.fail("delete stream "+name, err)
		}
	}
	return nil
}

// DropGroup implements [driverkit.Feeder]: it has nothing here.
func (s *Streams) DropGroup(context.Context, string, string, int) error { return nil }
