package deedtest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
)

// again is a subscription whose partitions are lost and granted again, once for every
// event: after a group has handled all that it was given of a partition, and before
// its progress is stored. That is what happens when a process dies, with neither a
// process to end nor a lease to wait for, and to batches as to single events. It keeps
// the contract of driver.Subscription, so the group cannot tell.
type again struct {
	driver.Subscription

	mu        sync.Mutex
	parts     map[int]*part
	interrupt context.CancelFunc // ends the Receive in progress
}

// givenMax bounds what is remembered of a partition. At the bound nothing new is
// fetched from it until the group has handled what it has.
const givenMax = 1024

// part is a partition that the member has.
type part struct {
	claim   driver.Claim
	given   []driver.Delivery // handed out, and not stored as handled
	twice   int               // so many of the first ones were handed out twice
	resend  int               // so many after those are still to be handed out again
	handled string            // up to here, and not stored yet
	wanted  bool              // it moves to another member, who gets them again anyway
}

// Receive implements driver.Subscription.
func (s *again) Receive(ctx context.Context, f driver.Fetch) (driver.Received, error) {
	for {
		innerCtx, interrupt := context.WithCancel(ctx)
		s.mu.Lock()
		got, ok := s.repeat(f)
		s.interrupt = interrupt
		inner := f
		inner.Full = s.full(f.Full)
		s.mu.Unlock()
		if ok {
			interrupt()
			return got, nil
		}
		got, err := s.Subscription.Receive(innerCtx, inner)
		interrupt()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
			continue // there is something to hand out again, or room
		}
		if err == nil {
			s.note(got)
		}
		return got, err
	}
}

// repeat returns what is to be handed out again, if anything. The caller holds s.mu.
func (s *again) repeat(f driver.Fetch) (got driver.Received, ok bool) {
	for _, i := range slices.Sorted(maps.Keys(s.parts)) {
		if p := s.parts[i]; p.quiet() {
			p.resend, p.handled = len(p.given), ""
			got.Lost = append(got.Lost, i)
			got.Granted = append(got.Granted, p.claim)
		}
	}
	if len(got.Granted) > 0 {
		return got, true
	}
	size := 0
	for _, i := range slices.Sorted(maps.Keys(s.parts)) {
		if slices.Contains(f.Full, i) {
			continue
		}
		for p := s.parts[i]; p.resend > 0 && !p.wanted; {
			d := p.given[p.twice]
			if n := len(got.Deliveries); n == f.Events || n > 0 && size+len(d.Data) > f.Bytes {
				return got, n > 0
			}
			d.Data = bytes.Clone(d.Data)
			got.Deliveries = append(got.Deliveries, d)
			size += len(d.Data)
			p.twice++
			p.resend--
		}
	}
	return got, len(got.Deliveries) > 0
}

// full adds to partitions without room those that have given enough. The caller holds
// s.mu.
func (s *again) full(full []int) []int {
	full = slices.Clone(full)
	for i, p := range s.parts {
		if len(p.given) >= givenMax && !slices.Contains(full, i) {
			full = append(full, i)
		}
	}
	return full
}

// quiet reports whether all that was handed out has been handled, once.
func (p *part) quiet() bool {
	n := len(p.given)
	return n > 0 && p.twice == 0 && p.resend == 0 && !p.wanted && p.given[n-1].Position == p.handled
}

// note remembers what the engine has handed out. Data is copied, since a handler may
// do with its bytes what it likes.
func (s *again) note(got driver.Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range got.Lost {
		delete(s.parts, i)
	}
	for _, c := range got.Granted {
		c.Suspect = false // it would be, but nothing has crashed: events need not run one by one
		s.parts[c.Partition] = &part{claim: c}
	}
	for _, d := range got.Deliveries {
		if p := s.parts[d.Partition]; p != nil {
			d.Data = bytes.Clone(d.Data)
			p.given = append(p.given, d)
		}
	}
	for _, i := range got.Wanted {
		if p := s.parts[i]; p != nil {
			p.wanted = true
		}
	}
}

// Settle implements driver.Subscription. It stores only what was handed out twice.
func (s *again) Settle(ctx context.Context, settlements []driver.Settlement) (lost []int, err error) {
	settlements = slices.Clone(settlements)
	s.mu.Lock()
	for i := range settlements {
		st := &settlements[i]
		p := s.parts[st.Partition]
		if p == nil || p.claim.Epoch != st.Epoch {
			continue
		}
		full := len(p.given) >= givenMax
		if st.Position != "" {
			st.Position = p.settle(st.Position)
		}
		if st.Release {
			delete(s.parts, st.Partition)
		} else if s.interrupt != nil && (p.quiet() || full && len(p.given) < givenMax) {
			s.interrupt()
		}
	}
	s.mu.Unlock()
	return s.Subscription.Settle(ctx, settlements)
}

// settle notes that everything up to a position was handled and returns up to where
// that may be stored, "" for nothing new.
func (p *part) settle(position string) string {
	at := slices.IndexFunc(p.given, func(d driver.Delivery) bool { return d.Position == position })
	if at < 0 {
		return position // stored before: the engine failed and is asked again
	}
	p.handled = position
	n := min(at+1, p.twice)
	if n == 0 {
		return ""
	}
	p.claim.Position = p.given[n-1].Position
	p.given = p.given[n:]
	p.twice -= n
	return p.claim.Position
}
