package deedsql

import (
	"maps"
	"slices"
	"sort"
	"strconv"
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
	mu      sync.Mutex
	order   []*block // the oldest first
	bytes   int
	byPlace map[place][]*block // by position
}

// block is a run of events that were stored at once.
type block struct {
	place
	first  int64             // position
	events []driver.Delivery // without Position
	bytes  int
}

// keep remembers an event until its transaction is committed. What belongs to the
// caller is copied.
func (t *tx) keep(at place, position, stored int64, m *driver.Message) {
	if len(m.Data) > tailEvent || !t.kept(at.topic) {
		return
	}
	last := len(t.blocks) - 1
	if last < 0 || t.blocks[last].place != at || t.blocks[last].first+int64(len(t.blocks[last].events)) != position {
		t.blocks = append(t.blocks, &block{place: at, first: position, events: make([]driver.Delivery, 0, t.expected)})
		last++
	}
	d := driver.Delivery{Message: *m, Partition: at.partition, Stored: nanoTime(stored)}
	d.Data = t.arena.copy(m.Data)
	d.Attributes = maps.Clone(m.Attributes)
	d.Time = m.Time.UTC().Round(0) // as it is read from the file
	b := t.blocks[last]
	b.events = append(b.events, d)
	b.bytes += len(m.Data) + tailExtra
}

// arena copies data into pieces of memory that many of them share. The first piece is
// as large as the data, each further one twice as large as the one before.
type arena []byte

const arenaBytes = 16 << 10

// copy copies data; nil stands for none, as in the file.
func (a *arena) copy(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	if cap(*a)-len(*a) < len(data) {
		*a = make([]byte, 0, max(min(2*cap(*a), arenaBytes), len(data)))
	}
	start := len(*a)
	*a = append(*a, data...)
	return (*a)[start:len(*a):len(*a)]
}

// add takes the events of a committed transaction and lets the oldest go.
func (l *tail) add(blocks []*block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byPlace == nil {
		l.byPlace = make(map[place][]*block)
	}
	for _, b := range blocks {
		l.order = append(l.order, b)
		l.byPlace[b.place] = append(l.byPlace[b.place], b)
		l.bytes += b.bytes
	}
	gone := 0
	for ; l.bytes > tailBytes; gone++ {
		b := l.order[gone]
		l.bytes -= b.bytes
		if l.byPlace[b.place] = l.byPlace[b.place][1:]; len(l.byPlace[b.place]) == 0 {
			delete(l.byPlace, b.place)
		}
	}
	l.order = slices.Delete(l.order, 0, gone)
}

// read appends the events of a query that are here, from the first on, to got. Full
// says that room ended it.
func (l *tail) read(q logQuery, got []driver.Delivery) (_ []driver.Delivery, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	blocks := l.byPlace[place{q.topic, q.partition}]
	next, start := q.at+1, len(got)
	var datas arena
	i := sort.Search(len(blocks), func(i int) bool { return blocks[i].first+int64(len(blocks[i].events)) > next })
	for ; i < len(blocks) && blocks[i].first <= next; i++ {
		for _, d := range blocks[i].events[next-blocks[i].first:] {
			if len(got)-start == q.limit {
				return got, false
			}
			if len(d.Data) > q.room && !(q.alone && len(got) == start) {
				return got, true
			}
			q.room -= len(d.Data)
			d.Position = strconv.FormatInt(next, 10)
			d.Data, d.Attributes = datas.copy(d.Data), maps.Clone(d.Attributes) // other groups get them too
			got = append(got, d)
			next++
		}
	}
	return got, false
}
