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
	chunks []*[chunkSize]driver.Delivery
	gone   int   // chunks removed from the front
	base   int64 // events removed from the front
	last   int64 // position of the last event
}

// at returns the event at a position between base+1 and last.
func (l *log) at(pos int64) *driver.Delivery {
	i := int(pos - 1)
	return &l.chunks[i/chunkSize-l.gone][i%chunkSize]
}

// next makes room for one more event.
func (l *log) next() *driver.Delivery {
	if int(l.last)/chunkSize-l.gone == len(l.chunks) {
		l.chunks = append(l.chunks, new([chunkSize]driver.Delivery))
	}
	l.last++
	return l.at(l.last)
}

// seek returns the position before the first event stored at or after t.
func (l *log) seek(t time.Time) int64 {
	n := sort.Search(int(l.last-l.base), func(i int) bool {
		return !l.at(l.base + 1 + int64(i)).Stored.Before(t)
	})
	return l.base + int64(n)
}

// trim removes the first event and returns the bytes of its data.
func (l *log) trim() (bytes int) {
	l.base++
	first := l.at(l.base)
	bytes = len(first.Data)
	first.Data = nil // goes now, the rest with its chunk when that is empty
	if l.base%chunkSize == 0 {
		l.chunks = l.chunks[1:]
		l.gone++
	}
	return bytes
}

// stamp returns when an event is stored that is appended at a time: a clock set back
// does not unsort the log.
func (l *log) stamp(at time.Time) time.Time {
	if l.last > l.base {
		if last := l.at(l.last).Stored; last.After(at) {
			return last
		}
	}
	return at
}
