package deedamqp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// The protocol tells neither where a stream begins nor where it ends: the count of a passive
// declaration is some seconds old. So both are found by reading, from a message on that is
// known to be there. When that has come it is acknowledged, upon which the server gives all
// that there is, as far as it may, before it answers what is asked next: if there was room
// for more, that was the end.

const (
	// nothingAfter is how long a stream may give nothing before it is asked for its end. It
	// decides when to ask, and not what is true.
	nothingAfter = 200 * time.Millisecond
	// tailAge is how long the end of a stream is a place to look for its end from.
	tailAge = 2 * time.Second
	// readMost is how many messages one reading brings. The server gives a chunk of its own
	// as a whole, so that it may be more by up to 4096.
	readMost = 1024
)

var (
	errNothing = errors.New("it gives nothing")
	errBeyond  = errors.New("it ends before")
)

// tail is where a stream ended a moment ago.
type tail struct {
	offset int64
	at     time.Time
}

// read reads a stream from a place: "first", "last", or an offset of a message that should
// be there. It returns what it was given, in order, up to so many messages or more, and
// whether that is all there is. A stream that ends before the offset is errBeyond; where
// the server has removed what was there it gives what comes after.
func (s *Streams) read(
	ctx context.Context, ch *amqp.Channel, stream string, from any, limit int,
) (rs []amqp.Delivery, whole bool, err error) {
	limit = min(limit, readMost)
	if err := ch.Qos(limit, 0, false); err != nil {
		return nil, false, err
	}
	tag := strconv.FormatUint(s.tags.Add(1), 10)
	came, err := ch.Consume(stream, tag, false, false, false, false, amqp.Table{offsetHeader: from})
	if err != nil {
		return nil, false, err
	}
	r, err := s.first(ctx, came, stream, from)
	if err != nil {
		_ = ch.Cancel(tag, false) // the channel may be gone
		return nil, false, err
	}
	if err := ch.Ack(r.DeliveryTag, false); err != nil {
		return nil, false, err
	}
	if err := ch.Cancel(tag, false); err != nil {
		return nil, false, err
	}
	rs = append(rs, r)
	for r := range came { // to the answer
		rs = append(rs, r)
	}
	return rs, len(rs) < limit+1, nil
}

// first waits for the first message of a reading.
func (s *Streams) first(
	ctx context.Context, came <-chan amqp.Delivery, stream string, from any,
) (r amqp.Delivery, err error) {
	for {
		look := time.NewTimer(nothingAfter)
		select {
		case r, ok := <-came:
			look.Stop()
			if !ok {
				return r, &amqp.Error{Code: amqp.NotFound, Reason: "the stream was deleted"}
			}
			return r, nil
		case <-look.C:
			if at, ok := from.(int64); ok {
				if err := s.within(ctx, stream, at); err != nil {
					return r, err
				}
			}
		case <-ctx.Done():
			look.Stop()
			return r, fmt.Errorf("%w: %w", driver.ErrAway, context.Cause(ctx))
		}
	}
}

// within is errBeyond when a stream ends before an offset.
func (s *Streams) within(ctx context.Context, stream string, at int64) error {
	s.forget(stream)
	end := int64(0)
	err := s.with(ctx, func(ch *amqp.Channel) (err error) {
		end, err = s.end(ctx, ch, stream)
		return err
	})
	if err == nil && end < at {
		err = fmt.Errorf("%w: %d of %d", errBeyond, end, at)
	}
	return err
}

// end returns the offset of a stream's last message; 0 is that of the marker.
func (s *Streams) end(ctx context.Context, ch *amqp.Channel, stream string) (int64, error) {
	s.mu.Lock()
	t := s.tails[stream]
	s.mu.Unlock()
	var from any = "last"
	if time.Since(t.at) < tailAge {
		from = t.offset
	}
	for {
		rs, whole, err := s.read(ctx, ch, stream, from, readMost)
		if errors.Is(err, errBeyond) { // it is another stream by now
			from = "last"
			continue
		}
		if err != nil {
			return 0, err
		}
		at, err := offset(&rs[len(rs)-1])
		if err != nil {
			return 0, err
		}
		if whole {
			s.mu.Lock()
			s.tails[stream] = tail{at, time.Now()}
			s.mu.Unlock()
			return at, nil
		}
		from = at
	}
}

// forget makes the end of a stream be looked for from its last chunk.
func (s *Streams) forget(stream string) {
	s.mu.Lock()
	delete(s.tails, stream)
	s.mu.Unlock()
}

// start returns the offset of the first message that a stream has.
func (s *Streams) start(ctx context.Context, ch *amqp.Channel, stream string) (int64, error) {
	rs, _, err := s.read(ctx, ch, stream, "first", 1)
	if err != nil {
		return 0, err
	}
	return offset(&rs[0])
}
