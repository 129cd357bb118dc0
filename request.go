package deed

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/deedgo/deed/driver"
)

// request is one Publish call. Later calls use it again with the room that it has:
// its messages would be most of what publishing allocates.
type request struct {
	parts    []part
	place    []int            // of each draft among the parts
	table    []int            // from 1, the part of each partition of each topic
	messages []driver.Message // of all parts
	taken    atomic.Bool      // by the flush, or by a caller who gave up first
	done     chan struct{}    // has room for one, and gets it when the parts have receipts
}

// part is what one Publish call puts on one partition.
type part struct {
	info      *driver.TopicInfo
	partition int
	messages  []driver.Message
	count     int // how many messages there will be
	bytes     int

	next    *part // on its way with this one
	receipt driver.Receipt
}

func (r *request) size() (events, bytes int) {
	for i := range r.parts {
		bytes += r.parts[i].bytes
	}
	return len(r.place), bytes
}

// request returns one for so many drafts.
func (p *publisher) request(drafts int) *request {
	r, ok := p.unused.Get().(*request)
	if !ok {
		r = &request{done: make(chan struct{}, 1)}
	}
	r.place = slices.Grow(r.place[:0], drafts)[:drafts]
	r.messages = slices.Grow(r.messages[:0], drafts)[:drafts]
	return r
}

// release takes a request back that nobody looks at any more.
func (p *publisher) release(r *request) {
	clear(r.parts)
	clear(r.messages)
	r.parts, r.table = r.parts[:0], r.table[:0]
	r.taken.Store(false)
	p.unused.Put(r)
}

// rooms lends messages a place to be during a flush.
type rooms struct{ pool sync.Pool }

// borrow returns room for n messages.
func (l *rooms) borrow(n int) *[]driver.Message {
	if room, ok := l.pool.Get().(*[]driver.Message); ok && cap(*room) >= n {
		*room = (*room)[:n]
		return room
	}
	room := make([]driver.Message, n)
	return &room
}

// giveBack ends a loan: nobody looks at the messages any more.
func (l *rooms) giveBack(room *[]driver.Message) {
	clear(*room)
	l.pool.Put(room)
}
