package deedmem

import (
	"cmp"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// sideLog holds the records of one group and partition. The zero value is empty.
type sideLog struct {
	records map[spot]*record
	chains  map[string][]*record // by key, in order; keyless and Aside ones have none
}

// spot is what a record is known by.
type spot struct {
	position int64
	run      int
}

type record struct {
	driver.Letter
	spot
}

// chained reports whether the record keeps its place among those of its key.
func (r *record) chained() bool { return r.Key != "" && !r.Aside }

// earlier orders the records of a key: what a reset brings again comes after what
// was left from before it.
func earlier(a, b *record) int {
	return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.position, b.position))
}

// put adds r, or replaces the record at its spot, whose ID it takes.
func (s *sideLog) put(r *record, id func() int64) {
	if s.records == nil {
		s.records = make(map[spot]*record)
		s.chains = make(map[string][]*record)
	}
	if old := s.records[r.spot]; old != nil {
		if r.State == driver.Behind {
			return // delivered again: what became of it since stands
		}
		r.ID = old.ID
		if len(old.Edits) > 0 { // a copy from the log would undo them
			r.Data, r.Edits = old.Data, old.Edits
		}
		s.unchain(old)
	} else {
		r.ID = id()
	}
	s.records[r.spot] = r
	first := true
	if r.chained() {
		chain := s.chains[r.Key]
		i, _ := slices.BinarySearchFunc(chain, r, earlier)
		s.chains[r.Key] = slices.Insert(chain, i, r)
		first = i == 0
	}
	if r.State == driver.Behind && first {
		r.wait(now())
	}
}

// wait makes r ready to be tried at due.
func (r *record) wait(due time.Time) { r.State, r.Due = driver.Waiting, due }

// remove takes r away and lets the next record of its key go on. It returns true
// when nothing of the key is left.
func (s *sideLog) remove(r *record) (empty bool) {
	delete(s.records, r.spot)
	s.unchain(r)
	if r.Key == "" {
		return false
	}
	chain := s.chains[r.Key]
	if len(chain) > 0 && chain[0].State == driver.Behind {
		chain[0].wait(now())
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

// due returns the records that may be tried now, those that waited longest first.
func (s *sideLog) due(at time.Time) []*record {
	var due []*record
	for _, r := range s.records {
		ready := r.State == driver.Redriven || r.State == driver.Waiting && !r.Due.After(at)
		if ready && (!r.chained() || s.chains[r.Key][0] == r) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *record) int { return cmp.Or(a.Due.Compare(b.Due), earlier(a, b)) })
	return due
}

// count fills in how many records wait and how many are dead, and returns the
// positions above after that this run has set aside.
func (s *sideLog) count(lag *driver.PartitionLag, run int, after int64) map[int64]bool {
	aside := make(map[int64]bool)
	for _, r := range s.records {
		if r.State == driver.Dead {
			lag.Dead++
		} else {
			lag.Parked++
		}
		if r.run == run && r.position > after {
			aside[r.position] = true
		}
	}
	return aside
}
