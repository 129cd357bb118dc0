package deednats

import (
	"cmp"
	"slices"

	"github.com/deedgo/deed/driver"
)

// record is what a journal says of a parked event. The event itself, and why it failed,
// is in a blob: what is in memory of a side log is this.
type record struct {
	Position int64              `json:"p"`
	Run      int                `json:"r,omitempty"`
	ID       int64              `json:"id"`
	Key      string             `json:"k,omitempty"`
	State    driver.LetterState `json:"s"`
	Aside    bool               `json:"x,omitempty"`
	Due      int64              `json:"d,omitempty"` // in microseconds
	Edited   bool               `json:"e,omitempty"`
	Blob     []uint64           `json:"b"`
}

// spot is what a record is known by.
type spot struct {
	position int64
	run      int
}

func (r *record) spot() spot { return spot{r.Position, r.Run} }

// chained reports whether the record keeps its place among those of its key.
func (r *record) chained() bool { return r.Key != "" && !r.Aside }

// earlier orders the records of a key: what a reset brings again comes after what
// was left from before it.
func earlier(a, b *record) int {
	return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Position, b.Position))
}

// sideLog holds the records of one group and partition. The zero value is empty.
type sideLog struct {
	records map[spot]*record
	chains  map[string][]*record // by key, in order; keyless and Aside ones have none
}

// apply does a step of the side log's.
func (s *sideLog) apply(e *entry) {
	switch e.Op {
	case opPark:
		for i := range e.Records {
			r := e.Records[i]
			s.put(&r, e.At)
		}
	case opUnpark:
		for _, position := range e.Spots {
			if r := s.handled(position, e.Run); r != nil {
				s.remove(r, e.At)
			}
		}
	case opRedrive:
		for _, r := range s.dead(e.IDs) {
			r.State, r.Due = driver.Redriven, e.At
		}
	case opDiscard:
		for _, r := range s.dead(e.IDs) {
			s.remove(r, e.At)
		}
	case opEdit:
		for _, r := range s.dead(e.IDs) {
			r.Blob, r.Edited = e.Blob, true
		}
	}
}

// put adds r, or replaces the record at its spot, whose ID it takes.
func (s *sideLog) put(r *record, at int64) {
	if s.records == nil {
		s.records, s.chains = make(map[spot]*record), make(map[string][]*record)
	}
	if old := s.records[r.spot()]; old != nil {
		if r.State == driver.Behind {
			return // delivered again: what became of it since stands
		}
		r.ID, r.Edited = old.ID, old.Edited
		s.unchain(old)
	}
	s.records[r.spot()] = r
	if first := s.enchain(r); r.State == driver.Behind && first {
		r.State, r.Due = driver.Waiting, at
	}
}

// enchain puts r among those of its key and reports whether it is the first.
func (s *sideLog) enchain(r *record) (first bool) {
	if !r.chained() {
		return true
	}
	chain := s.chains[r.Key]
	i, _ := slices.BinarySearchFunc(chain, r, earlier)
	s.chains[r.Key] = slices.Insert(chain, i, r)
	return i == 0
}

// restore adds a record as it was.
func (s *sideLog) restore(r *record) {
	if s.records == nil {
		s.records, s.chains = make(map[spot]*record), make(map[string][]*record)
	}
	s.records[r.spot()] = r
	s.enchain(r)
}

// remove takes r away and lets the next record of its key go on. It returns true
// when nothing of the key is left.
func (s *sideLog) remove(r *record, at int64) (empty bool) {
	delete(s.records, r.spot())
	s.unchain(r)
	if r.Key == "" {
		return false
	}
	chain := s.chains[r.Key]
	if len(chain) > 0 && chain[0].State == driver.Behind {
		chain[0].State, chain[0].Due = driver.Waiting, at
	}
	return len(chain) == 0
}

func (s *sideLog) unchain(r *record) {
	if !r.chained() {
		return
	}
	chain := s.chains[r.Key]
	if i := slices.Index(chain, r); i >= 0 {
		chain = slices.Delete(chain, i, i+1)
	}
	if len(chain) == 0 {
		delete(s.chains, r.Key)
		return
	}
	s.chains[r.Key] = chain
}

// handled returns the record that a handler at position has just done with: of
// several runs the earliest that is not dead.
func (s *sideLog) handled(position int64, run int) *record {
	for i := range run + 1 {
		if r := s.records[spot{position, i}]; r != nil && r.State != driver.Dead {
			return r
		}
	}
	return s.records[spot{position, run}]
}

// dead returns the dead records among ids.
func (s *sideLog) dead(ids []int64) []*record {
	var dead []*record
	for _, r := range s.records {
		if r.State == driver.Dead && slices.Contains(ids, r.ID) {
			dead = append(dead, r)
		}
	}
	return dead
}

// due returns the records that may be tried now, those that waited longest first.
func (s *sideLog) due(at int64) []*record {
	var due []*record
	for _, r := range s.records {
		ready := r.State == driver.Redriven || r.State == driver.Waiting && r.Due <= at
		if ready && (!r.chained() || s.chains[r.Key][0] == r) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *record) int { return cmp.Or(cmp.Compare(a.Due, b.Due), earlier(a, b)) })
	return due
}

// count returns how many records wait and how many are dead, and the positions above
// after that a run has set aside.
func (s *sideLog) count(run int, after int64) (parked, dead int64, aside map[int64]bool) {
	aside = make(map[int64]bool)
	for _, r := range s.records {
		if r.State == driver.Dead {
			dead++
		} else {
			parked++
		}
		if r.Run == run && r.Position > after {
			aside[r.Position] = true
		}
	}
	return parked, dead, aside
}

// sorted returns all records in the order of their ids.
func (s *sideLog) sorted() []*record {
	all := make([]*record, 0, len(s.records))
	for _, r := range s.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *record) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
