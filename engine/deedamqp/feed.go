package deedamqp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// feed is a member's end of the queues of its group. Each partition has a channel of its
// own, a tap.
type feed struct {
	c            *Conn
	group, topic string
	ready        driverkit.Signal

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	taps    map[int]*tap // nil after Close
	turn    int          // which partition is first next time
	trouble error        // to be told once
	down    bool         // it was told, and nothing has worked since
	lost    error        // a queue is gone
	stopped []driver.Stopped
}

// Feed implements [driverkit.Feeder].
func (c *Conn) Feed(group, topic string, _ time.Duration) (driverkit.Feed, error) {
	f := &feed{c: c, group: group, topic: topic, taps: make(map[int]*tap)}
	f.ctx, f.stop = context.WithCancel(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.feeds == nil {
		return nil, c.fail("feed", driver.ErrClosed)
	}
	c.feeds[f] = true
	f.done.Go(f.answer)
	return f, nil
}

// Open implements [driverkit.Feed].
func (f *feed) Open(partition int, settled string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taps == nil || f.taps[partition] != nil {
		return
	}
	n, _ := strconv.ParseInt(settled, 10, 64) // as it was given out, or "" for none
	t := &tap{
		f: f, partition: partition, queue: queueName(f.group, f.topic, partition), last: n, settled: n,
		shut: make(chan struct{}), flushes: make(chan chan struct{}), first: time.Now().Add(firstPatience),
	}
	time.AfterFunc(firstPatience, f.ready.Notify)
	t.ctx, t.stop = context.WithCancel(f.ctx)
	f.taps[partition] = t
	f.done.Go(t.run)
}

// Shut implements [driverkit.Feed].
func (f *feed) Shut(partition int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.taps[partition]
	if t == nil {
		shut := make(chan struct{})
		close(shut)
		return shut
	}
	delete(f.taps, partition)
	t.stop()
	return t.shut
}

// Ready implements [driverkit.Feed].
func (f *feed) Ready() <-chan struct{} { return f.ready.Wait() }

// Take implements [driverkit.Feed].
func (f *feed) Take(fetch driver.Fetch) (got driver.Received, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.c.ctx.Err() != nil:
		return got, f.fail(driver.ErrClosed)
	case f.lost != nil:
		return got, f.fail(f.lost)
	case f.trouble != nil:
		err, f.trouble = f.trouble, nil
		return got, f.fail(err)
	}
	got.Stopped, f.stopped = f.stopped, nil
	var ps []int
	for _, p := range slices.Sorted(maps.Keys(f.taps)) {
		if time.Now().Before(f.taps[p].first) {
			return got, nil
		}
		if !slices.Contains(fetch.Full, p) && f.taps[p].waiting() > 0 {
			ps = append(ps, p)
		}
	}
	f.turn++
	bytes := 0
	for i := range ps {
		left, rest := fetch.Events-len(got.Deliveries), len(ps)-i
		t := f.taps[ps[(i+f.turn)%len(ps)]]
		for range (left + rest - 1) / rest { // an equal part of what is left
			d := t.next()
			if d == nil || len(got.Deliveries) > 0 && bytes+len(d.Data) > fetch.Bytes {
				break
			}
			bytes += len(d.Data)
			got.Deliveries = append(got.Deliveries, *d)
			t.take()
		}
	}
	return got, nil
}

// Settle implements [driverkit.Feed].
func (f *feed) Settle(ctx context.Context, partition int, position string) error {
	n, err := strconv.ParseInt(position, 10, 64)
	if err != nil || n < 1 {
		return f.fail(fmt.Errorf("%w: position %.40q is not a number from 1", driver.ErrRefused, position))
	}
	f.mu.Lock()
	t := f.taps[partition]
	if t == nil {
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

// Close implements [driverkit.Feed].
func (f *feed) Close() error {
	f.mu.Lock()
	f.taps = nil
	f.mu.Unlock()
	f.stop()
	f.done.Wait()
	f.c.mu.Lock()
	delete(f.c.feeds, f)
	f.c.mu.Unlock()
	f.ready.Notify()
	return nil
}

func (f *feed) fail(err error) error { return f.c.fail("group "+f.group+" on "+f.topic, err) }

// broke notes why a tap has lost its channel, and that the caller should hear of it.
func (f *feed) broke(err error) {
	f.mu.Lock()
	if !f.down {
		f.down, f.trouble = true, err
	}
	f.mu.Unlock()
	f.ready.Notify()
}

// gone notes that a queue is not there any more.
func (f *feed) gone(err error) {
	f.mu.Lock()
	f.lost = fmt.Errorf("%w: %w", driver.ErrLost, err)
	f.mu.Unlock()
	f.ready.Notify()
}
