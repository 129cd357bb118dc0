package deedmem

import (
	"time"

	"github.com/deedgo/deed/driver"
)

// window remembers the identities that a topic stored within its Dedupe. It is the
// topic's, not a partition's: an event without a key may come back to another one.
type window struct {
	stored map[identity]time.Time
	order  []entry // oldest first
}

type identity struct{ source, id string }

type entry struct {
	identity
	at time.Time
}

// seen reports whether m was stored less than length ago, and remembers it if not.
func (w *window) seen(m *driver.Message, at time.Time, length time.Duration) bool {
	if length == 0 {
		return false
	}
	w.forget(at.Add(-length))
	id := identity{m.Source, m.ID}
	if _, ok := w.stored[id]; ok {
		return true
	}
	if w.stored == nil {
		w.stored = make(map[identity]time.Time)
	}
	w.stored[id] = at
	w.order = append(w.order, entry{id, at})
	return false
}

// forget drops what was stored at or before t.
func (w *window) forget(t time.Time) {
	n := 0
	for ; n < len(w.order) && !w.order[n].at.After(t); n++ {
		delete(w.stored, w.order[n].identity)
	}
	w.order = w.order[n:]
}
