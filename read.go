package deed

import (
	"context"
	"iter"
	"time"
)

// From says where reading starts. The zero value is the beginning.
type From struct {
	end    bool
	time   time.Time
	cursor Cursor
}

// FromEnd starts after everything that is there.
func FromEnd() From { return From{end: true} }

// FromTime starts at the first event stored at or after t.
func FromTime(t time.Time) From { return From{time: t} }

// FromCursor starts after what the cursor has passed.
func FromCursor(c Cursor) From { return From{cursor: c} }

// Cursor is one position per partition, as text "0-17,3-1042".
type Cursor string

// ReadOptions select what Read returns. The zero value is everything there is.
type ReadOptions struct {
	From, To From // To's zero value means the end
	Last     int  // only the last n of what was selected by From, Key and Type; 0 means all
	Key      string
	Type     string
	Follow   bool // wait for more instead of ending
}

// Stored is an event as it lies in its topic.
type Stored struct {
	Event
	Topic    string
	Position string // "3-1042"
	StoredAt time.Time
}

// Read iterates over a topic's events without a group: partitions are merged by
// time of storing, order is kept inside each. An error ends the iteration.
func (b *Bus) Read(ctx context.Context, topic string, o *ReadOptions) iter.Seq2[Stored, error] {
	panic("later today")
}
