package torture

import (
	"cmp"
	"slices"
)

// The groups of a run.
const (
	// Effects handles each event with an inbox transaction in the consumers'
	// shared database: its effects happen exactly once.
	Effects = "effects"
	// Plain records what it is called for and has no inbox: at least once.
	Plain = "plain"
	// Replay has an inbox like Effects and is reset during the run, when Load.Reset
	// says so.
	Replay = "replay"
)

// History is everything that a run recorded, prepared for checks.
type History struct {
	Ops []Op // in order of Time
	// Dense says that the engine's positions count 1, 2, 3 …, so that none is left out.
	Dense bool
	// Again says that the engine stores again what is published again, as after an outcome
	// that nobody knows. What counts is then the first time.
	Again bool
	// Apart says that each group has positions of its own: what two publishers publish at once
	// may come to one group in another order than to the next.
	Apart bool

	invoked map[string]Op   // first Invoke by id
	acked   map[string]bool // OK by id
	stored  map[string]Op   // first Stored by id
	keys    map[string][]Op // Stored of each key, in order of KV
}

// NewHistory prepares ops, in any order.
func NewHistory(ops []Op) *History {
	h := &History{
		Ops: slices.Clone(ops), invoked: map[string]Op{}, acked: map[string]bool{},
		stored: map[string]Op{}, keys: map[string][]Op{},
	}
	slices.SortStableFunc(h.Ops, func(a, b Op) int { return cmp.Compare(a.Time, b.Time) })
	for _, op := range h.Ops {
		switch op.Do {
		case Invoke:
			if _, ok := h.invoked[op.ID]; !ok {
				h.invoked[op.ID] = op
			}
		case OK:
			h.acked[op.ID] = true
		case Stored:
			if _, ok := h.stored[op.ID]; !ok {
				h.stored[op.ID] = op
				h.keys[op.Key] = append(h.keys[op.Key], op)
			}
		}
	}
	for _, events := range h.keys {
		slices.SortFunc(events, func(a, b Op) int { return cmp.Compare(a.KV, b.KV) })
	}
	return h
}

// of returns the operations of one kind in order of time.
func (h *History) of(do Do) []Op {
	var ops []Op
	for _, op := range h.Ops {
		if op.Do == do {
			ops = append(ops, op)
		}
	}
	return ops
}

// in returns the operations of one kind in one group.
func (h *History) in(group string, do Do) []Op {
	return slices.DeleteFunc(h.of(do), func(op Op) bool { return op.Group != group })
}

// ids returns the set of the operations' ids.
func ids(ops []Op) map[string]bool {
	set := make(map[string]bool, len(ops))
	for _, op := range ops {
		set[op.ID] = true
	}
	return set
}

// first returns the earliest of the operations by id; ops are in order of time.
func first(ops []Op) map[string]Op {
	m := make(map[string]Op, len(ops))
	for _, op := range ops {
		if _, ok := m[op.ID]; !ok {
			m[op.ID] = op
		}
	}
	return m
}

// poisoned says of an event that its handlers reject it until they are fixed.
const poisoned = "poison"
