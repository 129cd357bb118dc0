package deedsql

import (
	sqldriver "database/sql/driver"
	"strings"
)

// bulkRows is how many rows a statement writes at most of what each partition has
// one of: as many as a topic has partitions, as a rule.
const bulkRows = 16

// bulk is an insert of up to bulkRows rows, by their number: a statement for each row
// would cost more than what it writes.
type bulk struct {
	columns int
	queries [bulkRows + 1]string
}

// newBulk makes an insert into a table and its columns, "t (a, b)", with what comes
// after the values.
func newBulk(into string, after string) *bulk {
	b := &bulk{columns: strings.Count(into, ",") + 1}
	row := "(?" + strings.Repeat(", ?", b.columns-1) + ")"
	for n := 1; n <= bulkRows; n++ {
		b.queries[n] = "INSERT INTO " + into + " VALUES " + row + strings.Repeat(", "+row, n-1) + " " + after
	}
	return b
}

// exec writes rows, whose values stand one behind the other.
func (b *bulk) exec(s *session, values []sqldriver.Value) error {
	for len(values) > 0 {
		n := min(len(values)/b.columns, bulkRows)
		if _, err := s.exec(b.queries[n], values[:n*b.columns]...); err != nil {
			return err
		}
		values = values[n*b.columns:]
	}
	return nil
}
