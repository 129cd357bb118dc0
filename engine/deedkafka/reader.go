package deedkafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
)

const (
	fetchTotal  = 8 << 20
	fetchWait   = 500 * time.Millisecond
	queueEvents = 1000 // above it a partition is not fetched from
	pollEvents  = 500
)

// reader fetches from the partitions that its subscription owns, ahead of Receive and
// within bounds.
type reader struct {
	s *subscription

	mu      sync.Mutex
	changes []func()           // for run, which alone changes what the client fetches
	kick    context.CancelFunc // ends the poll that runs
	pending map[int]bool       // partitions that changes are about
	queues  map[int]*queue
	turn    int // which partition is first next time
}

// queue is what was fetched of a partition and not yet taken.
type queue struct {
	records []*kgo.Record
	bytes   int
	full    bool // not fetched from
}

// add begins to fetch a partition from an offset.
func (r *reader) add(p int, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queues[p] = &queue{}
	name := r.s.spec.Topic
	r.change(p, func() {
		r.s.client.ResumeFetchPartitions(map[string][]int32{name: {int32(p)}})
		r.s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{name: {int32(p): kgo.NewOffset().At(offset)}})
	})
}

// watch begins to fetch the catalog, which tells of pauses.
func (r *reader) watch(offset int64) {
	r.s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{catalogTopic: {0: kgo.NewOffset().At(offset)}})
}

// drop ends it.
func (r *reader) drop(p int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queues[p] == nil {
		return
	}
	delete(r.queues, p)
	r.change(p, func() { r.s.client.RemoveConsumePartitions(map[string][]int32{r.s.spec.Topic: {int32(p)}}) })
}

// change leaves something for run to do. The caller holds mu.
func (r *reader) change(p int, f func()) {
	r.pending[p] = true
	r.changes = append(r.changes, f)
	if r.kick != nil {
		r.kick()
	}
}

// run polls until the subscription is closed. Between polls it changes what is fetched,
// so that what comes is always of the latest claim.
func (r *reader) run() {
	defer r.s.done.Done()
	for r.s.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(r.s.ctx)
		r.mu.Lock()
		changes := r.changes
		r.changes, r.kick = nil, cancel
		clear(r.pending)
		r.mu.Unlock()
		for _, f := range changes {
			f()
		}
		fetches := r.s.client.PollRecords(ctx, pollEvents)
		cancel()
		r.put(fetches)
	}
}

// put queues what came.
func (r *reader) put(fetches kgo.Fetches) {
	any := false
	r.mu.Lock()
	fetches.EachPartition(func(t kgo.FetchTopicPartition) {
		if t.Topic == catalogTopic {
			r.s.heard(t.Records)
			return
		}
		q := r.queues[int(t.Partition)]
		if q == nil || r.pending[int(t.Partition)] {
			return // of a claim that is over
		}
		for _, rec := range t.Records {
			q.records = append(q.records, rec)
			q.bytes += len(rec.Value)
			any = true
		}
		if !q.full && (len(q.records) > queueEvents || q.bytes > fetchTotal/2) {
			q.full = true
			r.s.client.PauseFetchPartitions(map[string][]int32{r.s.spec.Topic: {t.Partition}})
		}
	})
	r.mu.Unlock()
	fetches.EachError(func(name string, p int32, err error) {
		switch {
		case name != r.s.spec.Topic:
		case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		case errors.Is(err, kerr.OffsetOutOfRange):
			r.s.outOfRange(int(p))
		}
	})
	if any {
		r.s.changed.Notify()
	}
}

// take takes deliveries within the bounds of a fetch, from one partition after the other.
// may returns the holding of a partition that may be fetched from.
func (r *reader) take(f driver.Fetch, may func(p int) *holding) []driver.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ps []int
	for p, q := range r.queues {
		if len(q.records) > 0 && !slices.Contains(f.Full, p) && may(p) != nil {
			ps = append(ps, p)
		}
	}
	slices.Sort(ps)
	var ds []driver.Delivery
	bytes, left := 0, f.Events
	for i := range ps {
		p := ps[(i+r.turn)%len(ps)]
		part := max(1, left/(len(ps)-i))
		if left == 0 {
			break
		}
		some, size, cut := r.queues[p].take(part, f.Bytes-bytes, len(ds) == 0)
		for _, rec := range some {
			d := r.s.conn.settings.delivery(rec, r.s.spec.Topic)
			d.Replay = rec.Offset < may(p).Handled
			ds = append(ds, d)
		}
		left -= len(some)
		if bytes += size; cut {
			break
		}
		r.refill(p)
	}
	r.turn++
	return ds
}

// take takes at most n records and so many bytes, but one at least if alone.
func (q *queue) take(n, room int, alone bool) (rs []*kgo.Record, size int, cut bool) {
	i := 0
	for i < min(n, len(q.records)) {
		b := len(q.records[i].Value)
		if size+b > room && (!alone || i > 0) {
			cut = true
			break
		}
		size += b
		i++
	}
	rs = q.records[:i:i]
	q.records, q.bytes = q.records[i:], q.bytes-size
	if len(q.records) == 0 {
		q.records = nil
	}
	return rs, size, cut || size > room
}

// refill goes on fetching a partition whose queue has room again.
func (r *reader) refill(p int) {
	q := r.queues[p]
	if q.full && len(q.records) <= queueEvents/2 && q.bytes <= fetchTotal/4 {
		q.full = false
		r.s.client.ResumeFetchPartitions(map[string][]int32{r.s.spec.Topic: {int32(p)}})
	}
}

// outOfRange looks why a partition cannot be read on: it was cut off at its beginning,
// and goes on after that, or its end is lost.
func (s *subscription) outOfRange(p int) {
	ctx, cancel := context.WithTimeout(s.ctx, s.spec.Lease)
	defer cancel()
	starts, ends, err := s.conn.ends(ctx, s.topic)
	if err != nil {
		return // it is tried again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[p]
	if h == nil {
		return
	}
	if lost := lostLog(h.Next, ends[p]); lost != nil {
		s.reader.drop(p)
		s.stopped = append(s.stopped, driver.Stopped{Partition: p, Err: lost})
		s.changed.Notify()
		return
	}
	s.reader.drop(p)
	s.reader.add(p, max(h.Next, starts[p]))
}
