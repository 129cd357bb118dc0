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

// trim removes the first event.
func (l *log) trim() {
	l.base++
	*l.at(l.base) = driver.Delivery{} // its data goes now, its chunk when it is empty
	if l.base%chunkSize == 0 {
		l.chunks = l.chunks[1:]
		l.gone++
	}
}

// retain removes at most one batch's worth of the events that are past their time:
// older than Keep and handled by every group, or older than Hold. It runs when
// events arrive, so that a log that does not grow costs no timer.
func (t *topic) retain(p int, now time.Time) {
	const atOnce = 256 // bounds what one publisher pays; it is more than a batch adds
	l := &t.parts[p].log
	for range atOnce {
		if l.base == l.last {
			return
		}
		age := now.Sub(l.at(l.base + 1).Stored)
		if age <= t.info.Keep {
			return
		}
		held := t.info.Hold == 0 || age <= t.info.Hold
		for _, g := range t.groups {
			r := g.readings[p]
			if r.position > l.base {
				continue
			}
			if held {
				return
			}
			r.position, r.fetched = l.base+1, max(r.fetched, l.base+1)
			r.dropped++
		}
		l.trim()
	}
}
