package deedsql

import (
	"iter"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/deedgo/deed/driver"
)

const (
	tailBytes = 8 << 20  // of all events that a connection keeps in memory
	tailEvent = 64 << 10 // data above it is not kept
	tailExtra = 400      // bytes that an event takes beside its data, about
)

// tail keeps the last events that this connection stored, so that its own
// subscriptions read the file only when they lag behind: a third of what an event
// cost was to read it back. Committed events never change, so they can be given out
// as long as they are there.
type tail struct {
	mu     sync.Mutex
	order  []*block // the oldest first
	bytes  int
	places map[place]*shelf
}

// shelf is what is kept of a partition.
type shelf struct {
	blocks  []*block // by position
	end     int64    // the last position as of this connection's last commit
	removed int64    // likewise, positions up to here are gone
}

// block is a run of events that were stored at once.
type block struct {
	place
	first  int64             // position
	events []driver.Delivery // without Position
	bytes  int
}

// end is the position after the block's last event.
func (b *block) end() int64 { return b.first + int64(len(b.events)) }

// expect makes room for what keep will remember of a batch.
func (t *tx) expect(topic int64, ms []driver.Message) {
	if t.keeping = t.kept(topic); !t.keeping {
		return
	}
	bytes := 0
	for i := range ms {
		if n := len(ms[i].Data); n <= tailEvent {
			bytes += n
		}
	}
	t.expected, t.data = len(ms), make([]byte, 0, bytes)
}

// keep remembers an event of the batch that was expected until its transaction is
// committed. What belongs to the caller is copied.
func (t *tx) keep(at place, position, stored int64, m *driver.Message) {
	if len(m.Data) > tailEvent || !t.keeping {
		return
	}
	last := len(t.blocks) - 1
	if last < 0 || t.blocks[last].place != at || t.blocks[last].end() != position {
		t.blocks = append(t.blocks, &block{place: at, first: position, events: make([]driver.Delivery, 0, t.expected)})
		last++
	}
	d := driver.Delivery{Message: *m, Partition: at.partition, Stored: nanoTime(stored)}
	t.data, d.Data = appendData(t.data, m.Data)
	d.Attributes = maps.Clone(m.Attributes)
	d.Time = m.Time.UTC().Round(0) // as it is read from the file
	b := t.blocks[last]
	b.events = append(b.events, d)
	b.bytes += len(m.Data) + tailExtra
}

// appendData copies data to the end of a block and returns both; nil stands for none,
// as in the file.
func appendData(block, data []byte) (_, copied []byte) {
	if len(data) == 0 {
		return block, nil
	}
	start := len(block)
	block = append(block, data...)
	return block, block[start:len(block):len(block)]
}

// add takes the events of a committed transaction, with the ends of the partitions that
// it has changed, and lets the oldest events go.
func (l *tail) add(blocks []*block, heads map[place]*head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.places == nil {
		l.places = make(map[place]*shelf)
	}
	for _, b := range blocks {
		s := l.places[b.place]
		if s == nil {
			s = &shelf{}
			l.places[b.place] = s
		}
		if n := len(s.blocks); n > 0 && b.first < s.blocks[n-1].end() {
			continue // another writer's commit was told of first; these are read from the database
		}
		s.blocks = append(s.blocks, b)
		l.order = append(l.order, b)
		l.bytes += b.bytes
	}
	for at, h := range heads {
		if s := l.places[at]; s != nil {
			s.end, s.removed = max(s.end, h.position), max(s.removed, h.removed)
		}
	}
	gone := 0
	for ; l.bytes > tailBytes; gone++ {
		b := l.order[gone]
		l.bytes -= b.bytes
		s := l.places[b.place]
		s.blocks = s.blocks[1:]
	}
	l.order = slices.Delete(l.order, 0, gone)
}

// look reports how far a partition goes as of this connection's last commit, 0 when
// that is not known, and whether the event after a position is here.
func (l *tail) look(at place, position int64) (end int64, here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.places[at]
	if s == nil {
		return 0, false
	}
	i := s.find(position + 1)
	return s.end, position >= s.removed && i < len(s.blocks) && s.blocks[i].first <= position+1
}

// find returns the index of the first block that ends at or after a position.
func (s *shelf) find(position int64) int {
	return sort.Search(len(s.blocks), func(i int) bool {
		return s.blocks[i].end() > position
	})
}

// read appends the events of a query that are here, from the first on, to got. Full
// says that room ended it.
func (l *tail) read(q logQuery, got []driver.Delivery) (_ []driver.Delivery, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.places[place{q.topic, q.partition}]
	if s == nil {
		return got, false
	}
	events, bytes := 0, 0
	for d := range s.after(q.at) {
		if events == q.limit {
			break
		}
		if bytes+len(d.Data) > q.room && !(q.alone && events == 0) {
			full = true
			break
		}
		events++
		bytes += len(d.Data)
	}
	next, data := q.at, make([]byte, 0, bytes)
	var number [20]byte
	var texts strings.Builder // of the positions, which share one string
	texts.Grow(events * len(strconv.AppendInt(number[:0], q.at+int64(events), 10)))
	for d := range s.after(q.at) {
		if events--; events < 0 {
			break
		}
		next++
		e := *d
		start := texts.Len()
		texts.Write(strconv.AppendInt(number[:0], next, 10))
		e.Position = texts.String()[start:]
		data, e.Data = appendData(data, d.Data) // other groups get them too
		e.Attributes = maps.Clone(d.Attributes)
		got = append(got, e)
	}
	return got, full
}

// after goes through the events after a position that are here.
func (s *shelf) after(position int64) iter.Seq[*driver.Delivery] {
	return func(yield func(*driver.Delivery) bool) {
		next := position + 1
		for i := s.find(next); i < len(s.blocks) && s.blocks[i].first <= next; i++ {
			events := s.blocks[i].events[next-s.blocks[i].first:]
			for k := range events {
				if !yield(&events[k]) {
					return
				}
			}
			next += int64(len(events))
		}
	}
}
