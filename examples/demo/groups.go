package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/deedgo/deed"
)

// bands are the columns of the view; magnitudes below the first limit have a column
// of their own, since a magnitude is a logarithm and may be negative.
var bands = []struct {
	name  string
	below float64
}{{"<0", 0}, {"0-1", 1}, {"1-2", 2}, {"2-3", 3}, {"3-4", 4}, {"4-5", 5}, {"5+", 100}}

func bandOf(mag float64) int {
	for i, b := range bands {
		if mag < b.below {
			return i
		}
	}
	return len(bands) - 1
}

// counts is how many quakes there were by network and band.
type counts map[string][]int

func (c counts) add(q Quake) {
	row := c[q.Properties.Network]
	if row == nil {
		row = make([]int, len(bands))
		c[q.Properties.Network] = row
	}
	row[bandOf(q.Properties.Mag)]++
}

// view counts. It takes events in batches, which is the fast way to keep a view.
type view struct {
	mu      sync.Mutex // batches of different partitions come at the same time
	counts  counts
	handled int
}

func newView() *view { return &view{counts: make(counts)} }

const batchLimit = 100

func (v *view) subscription() *deed.Subscription {
	return deed.Subscribe("view", nil, deed.OnBatch(recorded, batchLimit,
		func(_ context.Context, events []deed.Received[Quake]) error {
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, e := range events {
				v.counts.add(e.Data)
			}
			v.handled += len(events)
			return nil
		}))
}

// checker is a group that wants to know how well the readings of a quake agree.
type checker struct {
	mu      sync.Mutex
	handled map[string][]string // ids by network, in the order they were handled in
}

func newChecker() *checker { return &checker{handled: make(map[string][]string)} }

var errNoRMS = errors.New("rms is missing")

// strict rejects a quake without rms: trying again would not bring it.
func (c *checker) strict(_ context.Context, e deed.Received[Quake]) error {
	if e.Data.Properties.RMS == nil {
		return deed.Reject(errNoRMS)
	}
	c.remember(e)
	return nil
}

// lenient is the handler after the bug report.
func (c *checker) lenient(_ context.Context, e deed.Received[Quake]) error {
	c.remember(e)
	return nil
}

func (c *checker) remember(e deed.Received[Quake]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled[e.Key] = append(c.handled[e.Key], e.ID)
}

// count returns how many quakes were handled.
func (c *checker) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, ids := range c.handled {
		n += len(ids)
	}
	return n
}

// inOrder counts the networks whose quakes were handled in the order of the feed,
// each once.
func (c *checker) inOrder(feed []Quake) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := make(map[string][]string)
	for _, q := range feed {
		want[q.Properties.Network] = append(want[q.Properties.Network], q.ID)
	}
	n := 0
	for network, ids := range want {
		if slices.Equal(c.handled[network], ids) {
			n++
		}
	}
	return n
}
