package deedkafka

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
)

const (
	fetchTotal = 8 << 20
	fetchWait  = 250 * time.Millisecond
	// Above these a partition is not fetched from. The client throws away what it has fetched
	// of one then, and fetches it again later: that is to be seldom.
	queueEvents = 4 << 10
	queueBytes  = 2 << 20
	pollEvents  = 2 << 10
)

// reader fetches from the partitions that its subscription owns, ahead of Receive and
// within bounds.
type reader struct {
	s *subscription

	mu     sync.Mutex
	drops  map[int]bool       // for run, which alone changes what the client fetches
	adds   map[int]int64      // from which offset; after the drops
	kick   context.CancelFunc // ends the poll that runs
	queues map[int]*queue
	turn   int // which partition is first next time
}

// queue is what was fetched of a partition and not yet taken.
type queue struct {
	records []*kgo.Record
	bytes   int
	full    bool // not fetched from
	// until is how long others wait for the first records, which are known to be there.
	// Else the partition that is there first would have all the room.
	until time.Time
}

// patienceFirst bounds that.
const patienceFirst = 2 * fetchWait

// add begins to fetch a partition from an offset; the log ends at end.
func (r *reader) add(p int, offset, end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queues[p], r.adds[p] = &queue{}, offset
	if offset < end {
		r.queues[p].until = time.Now().Add(patienceFirst)
		time.AfterFunc(patienceFirst, r.s.changed.Notify)
	}
	r.wake()
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
	delete(r.adds, p)
	r.drops[p] = true
	r.wake()
}

// wake lets run see what changed. The caller holds mu.
func (r *reader) wake() {
	if r.kick != nil {
		r.kick()
	}
}

// run polls until the subscription is closed. Between polls it changes what is fetched,
// so that what comes is always of the latest claim.
func (r *reader) run() {
	for r.s.ctx.Err() == nil {
		ctx, cancel := context.WithCancel(r.s.ctx)
		r.change(cancel)
		fetches := r.s.client.PollRecords(ctx, pollEvents)
		cancel()
		r.put(fetches)
	}
}

// change tells the client what to fetch and not to.
func (r *reader) change(kick context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kick = kick
	name := r.s.spec.Topic
	if drops := slices32(maps.Keys(r.drops)); len(drops) > 0 {
		r.s.client.RemoveConsumePartitions(map[string][]int32{name: drops})
	}
	if adds := slices32(maps.Keys(r.adds)); len(adds) > 0 {
		r.s.client.ResumeFetchPartitions(map[string][]int32{name: adds})
		offsets := make(map[int32]kgo.Offset, len(adds))
		for p, offset := range r.adds {
			offsets[int32(p)] = kgo.NewOffset().At(offset)
		}
		r.s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{name: offsets})
	}
	clear(r.drops)
	clear(r.adds)
}

func slices32(ps iter.Seq[int]) []int32 {
	var out []int32
	for p := range ps {
		out = append(out, int32(p))
	}
	return out
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
		p := int(t.Partition)
		q := r.queues[p]
		if _, coming := r.adds[p]; q == nil || coming || r.drops[p] {
			return // of a claim that is over
		}
		q.until = time.Time{}
		for _, rec := range t.Records {
			q.records = append(q.records, rec)
			q.bytes += len(rec.Value)
			any = true
		}
		if !q.full && (len(q.records) > queueEvents || q.bytes > queueBytes) {
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
		default: // the client goes on trying
			r.s.tell("read", err)
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
		if time.Now().Before(q.until) && !slices.Contains(f.Full, p) {
			return nil
		}
		if len(q.records) > 0 && !slices.Contains(f.Full, p) && may(p) != nil {
			ps = append(ps, p)
		}
	}
	slices.Sort(ps)
	var ds []driver.Delivery
	bytes, left := 0, f.Events
	var last driver.Message
	for i := range ps {
		p := ps[(i+r.turn)%len(ps)]
		part := max(1, left/(len(ps)-i))
		if left == 0 {
			break
		}
		some, size, cut := r.queues[p].take(part, f.Bytes-bytes, len(ds) == 0)
		ds = slices.Grow(ds, len(some))
		handled := may(p).Handled
		for _, rec := range some {
			d := r.s.conn.settings.delivery(rec, r.s.spec.Topic, &last)
			d.Replay = rec.Offset < handled
			ds = append(ds, d)
			last = d.Message
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
	if q.full && len(q.records) <= queueEvents/2 && q.bytes <= queueBytes/2 {
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
	h.begin(starts[p])
	s.reader.drop(p)
	s.reader.add(p, h.Next, ends[p])
}
