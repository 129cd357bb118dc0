package deedamqp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// feed is what a member is given of a topic. Each partition has a channel of its own.
type feed struct {
	c            *Conn
	group, topic string
	tap          func(partition int, settled int64) tap // begins to read; the caller holds mu
	ready        driverkit.Signal

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	taps    map[int]tap // nil after Close
	turn    int         // which partition is first next time
	trouble error       // to be told once
	down    bool        // it was told, and nothing has worked since
	lost    error       // a queue is gone
	stopped []driver.Stopped
}

// newFeed makes one that has no partitions.
func (c *Conn) newFeed(group, topic string) (*feed, error) {
	f := &feed{c: c, group: group, topic: topic, taps: make(map[int]tap)}
	f.ctx, f.stop = context.WithCancel(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.feeds == nil {
		f.stop()
		return nil, c.fail("feed", driver.ErrClosed)
	}
	c.feeds[f] = true
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
	f.taps[partition] = f.tap(partition, n)
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
	return t.end()
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
		if f.taps[p].early() {
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

// works notes that a channel works, and that there is something to take.
func (f *feed) works() {
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	f.ready.Notify()
}
