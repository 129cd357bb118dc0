package deedamqp

import (
	"context"
	"errors"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Ends implements [driverkit.Logs].
func (s *Streams) Ends(ctx context.Context, topic string, partitions int) ([]string, error) {
	ends := make([]string, partitions)
	err := s.with(ctx, func(ch *amqp.Channel) error {
		for p := range ends {
			at, err := s.end(ctx, ch, streamName(topic, p))
			if err != nil {
				return err
			}
			ends[p] = driverkit.Position(at)
		}
		return nil
	})
	if err != nil {
		return nil, s.fail("ends of "+topic, err)
	}
	return ends, nil
}

// Browse implements [driverkit.Logs].
func (s *Streams) Browse(ctx context.Context, p driver.Page) (ds []driver.Delivery, err error) {
	after, err := driverkit.ParsePosition(p.After)
	if err == nil {
		err = s.with(ctx, func(ch *amqp.Channel) (err error) {
			if p.Backward {
				ds, err = s.backward(ctx, ch, &p, after)
			} else {
				ds, err = s.forward(ctx, ch, &p, after)
			}
			return err
		})
	}
	if err != nil {
		return nil, s.fail("browse "+p.Topic, err)
	}
	return ds, nil
}

// forward reads the events after an offset.
func (s *Streams) forward(
	ctx context.Context, ch *amqp.Channel, p *driver.Page, after int64,
) (ds []driver.Delivery, err error) {
	for len(ds) < p.Limit {
		some, whole, err := s.after(ctx, ch, p, &after, p.Limit-len(ds))
		if err != nil {
			return nil, err
		}
		ds = append(ds, some[:min(len(some), p.Limit-len(ds))]...)
		if whole {
			break
		}
	}
	return ds, nil
}

// after reads so many events after an offset, which goes on to the last of these, or more,
// and reports whether there are no others.
func (s *Streams) after(
	ctx context.Context, ch *amqp.Channel, p *driver.Page, at *int64, limit int,
) (ds []driver.Delivery, whole bool, err error) {
	rs, whole, err := s.read(ctx, ch, streamName(p.Topic, p.Partition), *at, limit+1)
	if errors.Is(err, errBeyond) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	for i := range rs {
		n, err := offset(&rs[i])
		if err != nil {
			return nil, false, err
		}
		if _, ok := marker(&rs[i]); !ok && n > *at {
			ds = append(ds, streamDelivery(&rs[i], p.Topic, p.Partition, n))
		}
		*at = max(*at, n)
	}
	return ds, whole, nil
}

// backward reads the last events before an offset, or of all for 0, newest first. Where
// offsets have no event it goes on further back.
func (s *Streams) backward(
	ctx context.Context, ch *amqp.Channel, p *driver.Page, before int64,
) (ds []driver.Delivery, err error) {
	stream := streamName(p.Topic, p.Partition)
	start, err := s.start(ctx, ch, stream)
	if err != nil {
		return nil, err
	}
	end, err := s.end(ctx, ch, stream)
	if err != nil {
		return nil, err
	}
	if before == 0 || before > end {
		before = end + 1
	}
	for len(ds) < p.Limit && before > max(start, 1) {
		from := max(start-1, before-1-int64(p.Limit-len(ds)), 0)
		some, err := s.between(ctx, ch, p, from, before)
		if err != nil {
			return nil, err
		}
		slices.Reverse(some)
		ds = append(ds, some...)
		before = from + 1
	}
	return ds[:min(len(ds), p.Limit)], nil
}

// between reads the events after one offset and before another.
func (s *Streams) between(
	ctx context.Context, ch *amqp.Channel, p *driver.Page, after, before int64,
) (ds []driver.Delivery, err error) {
	for after < before-1 {
		some, whole, err := s.after(ctx, ch, p, &after, int(before-after))
		if err != nil {
			return nil, err
		}
		ds = append(ds, some...)
		if whole {
			break
		}
	}
	for i := range ds {
		if n, _ := driverkit.ParsePosition(ds[i].Position); n >= before {
			return ds[:i], nil
		}
	}
	return ds, nil
}

// Seek implements [driverkit.Logs]. Times are those of the messages, which their publishers
// give: they grow along a stream as far as the clocks of these agree. Halving needs no clock
// of the server's, whose own times of chunks the protocol does not tell.
func (s *Streams) Seek(ctx context.Context, topic string, partition int, t time.Time) (position string, err error) {
	err = s.with(ctx, func(ch *amqp.Channel) error {
		stream := streamName(topic, partition)
		start, err := s.start(ctx, ch, stream)
		if err != nil {
			return err
		}
		if t.IsZero() {
			position = driverkit.Position(start - 1)
			return nil
		}
		end, err := s.end(ctx, ch, stream)
		if err != nil {
			return err
		}
		at, err := s.since(ctx, ch, &driver.Page{Topic: topic, Partition: partition}, max(start-1, 0), end, t)
		position = driverkit.Position(at)
		return err
	})
	return position, s.fail("seek in "+topic, err)
}

// since returns the offset before the first event of a time or later, of those after low; it
// is high when there is none.
func (s *Streams) since(
	ctx context.Context, ch *amqp.Channel, p *driver.Page, low, high int64, t time.Time,
) (int64, error) {
	for low < high {
		middle := low + (high-low)/2
		at := middle
		ds, _, err := s.after(ctx, ch, p, &at, 1)
		if err != nil {
			return 0, err
		}
		if len(ds) == 0 { // what is there is no event
			high = middle
			continue
		}
		n, err := driverkit.ParsePosition(ds[0].Position)
		if err != nil {
			return 0, err
		}
		if ds[0].Stored.Before(t) {
			low = n
		} else {
			high = middle
		}
	}
	return min(low, high), nil
}
