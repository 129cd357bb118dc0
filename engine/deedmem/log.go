package deedmem

import (
	"sort"
	"time"

	"github.com/deedgo/deed/driver"
)

// chunkSize is how many events lie side by side. Chunks are never moved, so that
// a long log costs nothing to append to, and a short one costs little.
const chunkSize = 64

// log is the events of one partition by position, which counts from 1.
type log struct {
	chunks []*chunk
	gone   int   // chunks removed from the front
	base   int64 // events removed from the front
	last   int64 // position of the last event
}

// chunk is some events with what they refer to. Events hold no pointers and come
// last, so that the garbage collector does not look at them: a log of millions costs
// it next to nothing.
type chunk struct {
	kinds  []kind
	pieces []*piece
	events [chunkSize]event
}

// kind is what an event mostly has in common with the one before.
type kind struct {
	source, name string
	version      int
	contentType  string
}

// event is one entry of the log.
type event struct {
	kind, piece uint8 // in the chunk
	extra       bool  // the key is followed by what extra wrote
	text, data  int   // where in the piece the id and the data start
	id, key     int32 // bytes
	bytes       int32 // of data
	nanos       int32 // of when it happened
	seconds     int64
	stored      int64 // in nanoseconds since 1970
}

func (e *event) storedAt() time.Time { return time.Unix(0, e.stored).UTC() }

// at returns the event at a position between base+1 and last.
func (l *log) at(pos int64) *event {
	c, i := l.chunkOf(pos)
	return &c.events[i]
}

func (l *log) chunkOf(pos int64) (c *chunk, index int) {
	i := int(pos - 1)
	return l.chunks[i/chunkSize-l.gone], i % chunkSize
}

// add appends an event that lies in a piece.
func (l *log) add(m *driver.Message, e event, p *piece, stored time.Time) {
	if int(l.last)/chunkSize-l.gone == len(l.chunks) {
		l.chunks = append(l.chunks, &chunk{})
	}
	l.last++
	c, i := l.chunkOf(l.last)
	e.kind, e.piece, e.stored = c.kindOf(m), c.pieceOf(p), stored.UnixNano()
	c.events[i] = e
}

func (c *chunk) kindOf(m *driver.Message) uint8 {
	k := kind{m.Source, m.Type, m.Version, m.ContentType}
	for i := len(c.kinds) - 1; i >= 0; i-- {
		if c.kinds[i] == k {
			return uint8(i)
		}
	}
	c.kinds = append(c.kinds, k)
	return uint8(len(c.kinds) - 1)
}

func (c *chunk) pieceOf(p *piece) uint8 {
	if n := len(c.pieces); n == 0 || c.pieces[n-1] != p {
		c.pieces = append(c.pieces, p)
	}
	return uint8(len(c.pieces) - 1)
}

// read writes what is at a position to d, but for the position. The data is the
// log's own.
func (l *log) read(pos int64, d *driver.Delivery) {
	c, i := l.chunkOf(pos)
	e := &c.events[i]
	k, p := &c.kinds[e.kind], c.pieces[e.piece]
	d.Source, d.Type, d.Version, d.ContentType = k.source, k.name, k.version, k.contentType
	text := p.text[e.text:]
	d.ID, text = text[:e.id], text[e.id:]
	d.Key, text = text[:e.key], text[e.key:]
	if e.extra {
		readExtra(text, &d.Message)
	}
	d.Time, d.Stored = time.Unix(e.seconds, int64(e.nanos)).UTC(), e.storedAt()
	d.Data = p.data[e.data:][:e.bytes:e.bytes]
}

// seek returns the position before the first event stored at or after t.
func (l *log) seek(t time.Time) int64 {
	n := sort.Search(int(l.last-l.base), func(i int) bool {
		return !l.at(l.base + 1 + int64(i)).storedAt().Before(t)
	})
	return l.base + int64(n)
}

// trim removes the first event and returns the bytes of its data. Its piece goes with
// the last event in it.
func (l *log) trim() (bytes int) {
	l.base++
	c, i := l.chunkOf(l.base)
	first := &c.events[i]
	switch {
	case i == chunkSize-1:
		l.chunks = l.chunks[1:]
		l.gone++
	case l.base < l.last && c.events[i+1].piece != first.piece:
		c.pieces[first.piece] = nil
	}
	return int(first.bytes)
}

// stamp returns when an event is stored that is appended at a time: a clock set back
// does not unsort the log.
func (l *log) stamp(at time.Time) time.Time {
	if l.last > l.base {
		if last := l.at(l.last).storedAt(); last.After(at) {
			return last
		}
	}
	return at
}
