package deed

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// Cursor is one position per partition, as text: "0-17,3-1042". A partition that
// it does not name has not been passed at all.
type Cursor string

// position renders the public form of an engine's position: "3-1042".
func position(partition int, p string) string { return strconv.Itoa(partition) + "-" + p }

// cursorOf renders positions by partition.
func cursorOf(positions map[int]string) Cursor {
	parts := make([]string, 0, len(positions))
	for _, partition := range slices.Sorted(maps.Keys(positions)) {
		parts = append(parts, position(partition, positions[partition]))
	}
	return Cursor(strings.Join(parts, ","))
}

// parse reads the cursor.
func (c Cursor) parse() (map[int]string, error) {
	positions := make(map[int]string)
	if c == "" {
		return positions, nil
	}
	for text := range strings.SplitSeq(string(c), ",") {
		number, p, ok := strings.Cut(text, "-")
		partition, err := strconv.Atoi(number)
		if !ok || err != nil || partition < 0 || p == "" {
			return nil, fmt.Errorf("position %q: want PARTITION-POSITION, as in 3-1042", text)
		}
		positions[partition] = p
	}
	return positions, nil
}

// From says where reading starts, or with ReadOptions.To where it ends. The zero
// value is the beginning.
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

// driver turns f into what engines take.
func (f From) driver() (driver.From, error) {
	out := driver.From{End: f.end, Time: f.time}
	if f.cursor != "" {
		positions, err := f.cursor.parse()
		if err != nil {
			return out, err
		}
		out.Cursor = positions
	}
	return out, nil
}

// isZero reports whether f says nothing.
func (f From) isZero() bool { return !f.end && f.time.IsZero() && f.cursor == "" }
