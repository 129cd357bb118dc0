package deednats

import (
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// state is how a group stands on a partition: what the entries of its journal add up to.
type state struct {
	Made      bool   `json:"made"` // else there is no such group
	Seat      string `json:"seat,omitempty"`
	Epoch     int64  `json:"epoch"`
	Suspect   bool   `json:"suspect,omitempty"` // whoever had it last ended without a release
	Position  int64  `json:"position,omitempty"`
	Committed int64  `json:"committed,omitempty"` // the highest that was ever settled
	Run       int    `json:"run,omitempty"`
	Quiet     bool   `json:"quiet,omitempty"`
	Dropped   int64  `json:"dropped,omitempty"`

	Rate   float64 `json:"rate,omitempty"`
	Status string  `json:"status,omitempty"`

	Marks map[int64]mark `json:"marks,omitempty"`

	side sideLog
}

// mark is a driver.Mark without its position.
type mark struct {
	Attempts int `json:"a,omitempty"`
	Crashes  int `json:"c,omitempty"`
}

// The kinds of entries.
const (
	opStart   = "start"   // the group begins
	opAcquire = "acquire" // a seat takes the partition, under a new epoch
	opFree    = "free"    // a seat that never began gives it back as it was
	opSettle  = "settle"
	opReset   = "reset"
	opBack    = "back" // the server has lost the end of the log
	opDrop    = "drop" // Hold removed events
	opPark    = "park"
	opUnpark  = "unpark"
	opMarks   = "marks"
	opRedrive = "redrive"
	opDiscard = "discard"
	opEdit    = "edit"
	opAll     = "all" // all of it so far: what is before it can go
)

// entry is one step of a journal. What it does follows from it and from the state before
// it, so that everybody who reads the journal comes to the same.
type entry struct {
	Op       string         `json:"op"`
	At       int64          `json:"at"` // the server's time, in microseconds
	Seat     string         `json:"seat,omitempty"`
	Position int64          `json:"position,omitempty"`
	Clean    bool           `json:"clean,omitempty"` // a release; or as clean as it was
	Run      int            `json:"run,omitempty"`
	Quiet    bool           `json:"quiet,omitempty"`
	Dropped  int64          `json:"dropped,omitempty"`
	Rate     float64        `json:"rate,omitempty"`
	Status   string         `json:"status,omitempty"`
	Marks    map[int64]mark `json:"marks,omitempty"`
	Records  []record       `json:"records,omitempty"`
	Spots    []int64        `json:"spots,omitempty"` // positions that were handled
	IDs      []int64        `json:"ids,omitempty"`
	State    *state         `json:"state,omitempty"`
	Blob     []uint64       `json:"blob,omitempty"` // where the records of an "all" are
}

// apply does a step. Its records become the state's.
func (s *state) apply(e *entry) {
	switch e.Op {
	case opStart:
		*s = state{Made: true, Position: e.Position, Epoch: max(s.Epoch+1, e.At)}
	case opAcquire:
		s.Suspect = s.Suspect || s.Seat != ""
		s.Seat, s.Epoch = e.Seat, max(s.Epoch+1, e.At)
		s.Rate, s.Status = 0, ""
	case opFree:
		s.Seat, s.Suspect = "", !e.Clean
	case opSettle:
		s.settle(e)
	case opReset:
		s.Seat, s.Suspect, s.Epoch = "", false, max(s.Epoch+1, e.At)
		s.Position, s.Run, s.Quiet = e.Position, e.Run, e.Quiet
		s.Rate, s.Status = 0, ""
	case opBack:
		s.Seat, s.Epoch = "", max(s.Epoch+1, e.At)
		s.Position, s.Committed = min(s.Position, e.Position), min(s.Committed, e.Position)
	case opDrop:
		s.Position, s.Dropped = max(s.Position, e.Position), s.Dropped+e.Dropped
	case opMarks:
		s.mark(e.Marks)
	case opAll:
		side := sideLog{}
		*s = *e.State
		for i := range e.Records {
			side.restore(&e.Records[i])
		}
		s.side = side
	default:
		s.side.apply(e)
	}
}

// settle moves the position, never back, and drops the marks that it passes.
func (s *state) settle(e *entry) {
	s.Rate, s.Status = e.Rate, e.Status
	if e.Position > s.Position {
		s.Position, s.Committed = e.Position, max(s.Committed, e.Position)
		for at := range s.Marks {
			if at <= e.Position {
				delete(s.Marks, at)
			}
		}
	}
	if e.Clean {
		s.Seat, s.Suspect, s.Rate, s.Status = "", false, 0, ""
	}
}

func (s *state) mark(marks map[int64]mark) {
	for at, m := range marks {
		switch {
		case m == mark{}:
			delete(s.Marks, at)
		case s.Marks == nil:
			s.Marks = map[int64]mark{at: m}
		default:
			s.Marks[at] = m
		}
	}
}

// claim describes the present claim to a partition.
func (s *state) claim(group, topic string, partition int) driver.Claim {
	return driver.Claim{
		Group: group, Topic: topic, Partition: partition, Epoch: s.Epoch, Position: driverkit.Position(s.Position),
		Suspect: s.Suspect, Run: s.Run, Quiet: s.Quiet,
	}
}

// whole returns an entry that stands for everything so far, but for its records.
func (s *state) whole() entry {
	copied := *s
	copied.side = sideLog{}
	return entry{Op: opAll, State: &copied}
}
