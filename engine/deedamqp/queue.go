package deedamqp

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// queueFeed is a member's end of the queues of its group.
type queueFeed struct{ *feed }

// Feed implements [driverkit.Feeder].
func (c *Conn) Feed(group, topic string, _ time.Duration) (driverkit.Feed, error) {
	f, err := c.newFeed(group, topic)
	if err != nil {
		return nil, err
	}
	f.tap = func(partition int, settled int64) tap {
		t := &queueTap{flushes: make(chan chan struct{}), last: settled, settled: settled}
		t.start(f, partition, queueName(group, topic, partition))
		f.done.Go(func() {
			defer close(t.shut)
			t.run(t.read)
		})
		return t
	}
	q := queueFeed{f}
	f.done.Go(q.answer)
	return q, nil
}

// Settle implements [driverkit.Feed].
func (f queueFeed) Settle(ctx context.Context, partition int, position string) error {
	n, err := strconv.ParseInt(position, 10, 64)
	if err != nil || n < 1 {
		return f.fail(fmt.Errorf("%w: position %.40q is not a number from 1", driver.ErrRefused, position))
	}
	f.mu.Lock()
	t, ok := f.taps[partition].(*queueTap)
	if !ok {
		f.mu.Unlock()
		return f.fail(fmt.Errorf("%w: partition %d is not read from", driver.ErrAway, partition))
	}
	ch, tag, err := t.upTo(n)
	f.mu.Unlock()
	if err != nil {
		return f.fail(err)
	}
	if tag == 0 { // nothing is left to settle there
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: no answer within %v", driver.ErrAway, patience))
	defer cancel()
	if err = f.c.call(ctx, func() error { return t.settle(ch, tag) }); err != nil {
		return f.fail(err)
	}
	f.mu.Lock()
	t.drop(n)
	f.mu.Unlock()
	return nil
}
