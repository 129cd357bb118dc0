package deedredis

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// A position is the id of a stream entry, "ms-n": when the event was stored, and
// how many deed had appended to the partition by then. An event that is packed with
// others has a number of its own, the last of them the entry's, so that an XREAD
// from any position returns what comes after it.
type position struct{ ms, n int64 }

// farthest is beyond either part of any position: scripts count in numbers that are exact
// up to here. An entry with an id beyond it is another program's, and not readable.
const farthest = 1 << 53

// endOfPositions is the largest position.
const (
	farthestNumber = "9007199254740991"
	endOfPositions = farthestNumber + "-" + farthestNumber
)

// String writes a position; "" is before the first event.
func (p position) String() string {
	if p == (position{}) {
		return ""
	}
	b := make([]byte, 0, 24)
	b = strconv.AppendInt(b, p.ms, 10)
	b = append(b, '-')
	return string(strconv.AppendInt(b, p.n, 10))
}

// parsePosition reads a position.
func parsePosition(s string) (p position, err error) {
	if s == "" {
		return p, nil
	}
	ms, n, ok := strings.Cut(s, "-")
	if ok {
		if p.ms, err = strconv.ParseInt(ms, 10, 64); err == nil {
			p.n, err = strconv.ParseInt(n, 10, 64)
		}
	}
	if !ok || err != nil || p.ms < 0 || p.n < 0 || p.ms >= farthest || p.n >= farthest {
		return p, fmt.Errorf("%w: %q is no position of this engine (a stream entry's id, 1700000000000-1)",
			driver.ErrRefused, s)
	}
	return p, nil
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.ms, q.ms), cmp.Compare(p.n, q.n))
}

// stored returns when the event was stored.
func (p position) stored() time.Time { return time.UnixMilli(p.ms).UTC() }

// sortable writes a position so that text sorts as positions do.
func (p position) sortable() string { return fmt.Sprintf("%015d-%015d", p.ms, p.n) }

// spot is where a record lies in a side log: its run and position, sortable.
func spot(run int, p position) string { return fmt.Sprintf("%06d.%s", run, p.sortable()) }

// parseSpot reads what spot wrote.
func parseSpot(s string) (run int, p position, err error) {
	r, rest, ok := strings.Cut(s, ".")
	if ok {
		if run, err = strconv.Atoi(r); err == nil {
			p, err = parsePosition(rest)
		}
	}
	if !ok || err != nil {
		err = fmt.Errorf("deedredis: a side log has a record at %q, which this version cannot read", s)
	}
	return run, p, err
}
