package driver

import (
	"context"
	"time"
)

// LetterState is where a side-log record stands.
type LetterState string

// The states of a record. The first record of a key is Waiting, Redriven or Dead; those after
// it are Behind, so that order is kept.
const (
	Waiting  LetterState = "waiting"  // to be tried when due
	Behind   LetterState = "behind"   // held back by an earlier record of its key
	Dead     LetterState = "dead"     // given up; holds its key back unless Aside
	Redriven LetterState = "redriven" // dead once, marked to be tried again
)

// Letter is a record of a group's side log: a copy of an event that failed, or
// that waits behind one of the same key.
type Letter struct {
	Group, Topic string
	ID           int64 // by which administration names it
	Run          int
	Delivery
	State    LetterState
	Aside    bool      // dead and holding nothing back: the group skips dead letters
	Due      time.Time // Waiting: when to try again
	Attempts int
	Crashes  int
	Reason   string // rejected, exhausted, undecodable, unknown version, crashed …
	Error    string
	Stack    string
	Failed   time.Time // when it last failed
	Edits    []Edit    // oldest first
}

// Parked is one event for [SideLog.Park]. After replaces Letter.Due, so that one
// clock, the engine's, decides.
type Parked struct {
	Letter
	After time.Duration
}

// Mark remembers trouble with an event that is not in the side log.
type Mark struct {
	Position string
	Attempts int
	Crashes  int
}

// SideLog is implemented by engines that keep parked events and dead letters of a
// (group, topic, partition), fenced by the claim: every method with a Claim is
// ErrFenced under a newer epoch and has then written nothing.
type SideLog interface {
	// Park adds or replaces records, by (position, run). One that asks for Behind
	// and is there already stays as it is, since only its first coming was behind
	// something: it was delivered again after a crash. A new one that asks for it
	// while no earlier record of its key remains becomes Waiting, due now,
	// in the same atomic step, so that nothing is left behind for ever.
	Park(ctx context.Context, c Claim, ps []Parked) error
	// Unpark removes records that were handled, the oldest run's that is not dead
	// where several runs parked a position, and makes the next record of each
	// key Waiting, due now. It returns the keys of which nothing is left.
	Unpark(ctx context.Context, c Claim, positions []string) (empty []string, err error)
	// Due returns the first record of at most limit keys that may be tried now:
	// Waiting and due, or Redriven. Keyless records are keys of their own.
	Due(ctx context.Context, c Claim, limit int) ([]Letter, error)
	// Chain returns the first records of a key in order.
	Chain(ctx context.Context, c Claim, key string, limit int) ([]Letter, error)
	// ParkedKeys returns at most limit keys that hold events back.
	ParkedKeys(ctx context.Context, c Claim, limit int) ([]string, error)
	// SetMarks stores marks by position; one without attempts and crashes is
	// removed. Settle removes those at or below the position it stores.
	SetMarks(ctx context.Context, c Claim, ms []Mark) error
	// Marks returns all marks above the claim's position.
	Marks(ctx context.Context, c Claim) ([]Mark, error)
}

// LetterFilter selects records. Zero fields select all.
type LetterFilter struct {
	IDs          []int64
	Group, Topic string
	Key, Type    string
	States       []LetterState
	Since        time.Time
	After        int64 // ID, exclusive, for paging
	Limit        int   // 0 means 1000
}

// Letters is implemented by engines whose side log can be administered. It needs
// no claim: it marks, and the claim's owner acts.
type Letters interface {
	// List returns records by ID.
	List(ctx context.Context, f LetterFilter) ([]Letter, error)
	// Redrive marks dead letters Redriven and returns how many.
	Redrive(ctx context.Context, ids []int64) (int, error)
	// Discard removes dead letters for good; what waits behind them goes on.
	Discard(ctx context.Context, ids []int64) (int, error)
	// Edit replaces the data of a dead letter; one that is not Dead is ErrRefused. Who,
	// why and the data before are kept in the letter's Edits.
	Edit(ctx context.Context, id int64, e Edit) error
}

// Edit is a change of a dead letter's data.
type Edit struct {
	At   time.Time // set by the engine
	By   string
	Why  string
	Data []byte // what to put in its place; in Letter.Edits: what it was before
}
