package deedsql

import (
	"database/sql"
	"errors"
	"time"

	"github.com/deedgo/deed/driver"
)

// direction of reading a partition.
type direction bool

const (
	forward  direction = false
	backward direction = true
)

const selectLog = "SELECT position, stored_at, id, source, type, version, key, time, attributes, data FROM deed_log "

// readLog calls yield for the events after a position, or with backward for those
// before it, until it returns false.
func readLog(
	st *statements, dir direction, topic int64, partition int, at int64, limit int, yield func(driver.Delivery) bool,
) error {
	query := selectLog + "WHERE topic_id = ? AND partition = ? AND position > ? ORDER BY position LIMIT ?"
	if dir == backward {
		query = selectLog + "WHERE topic_id = ? AND partition = ? AND position < ? ORDER BY position DESC LIMIT ?"
	}
	stmt, err := st.get(query)
	if err != nil {
		return err
	}
	rows, err := stmt.Query(topic, partition, at, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		d := driver.Delivery{Partition: partition}
		if err := scanEvent(rows, &d); err != nil {
			return err
		}
		if !yield(d) {
			return nil
		}
	}
	return rows.Err()
}

func scanEvent(rows *sql.Rows, d *driver.Delivery) error {
	var at, stored int64
	var when any
	var attributes sql.NullString
	err := rows.Scan(&at, &stored, &d.ID, &d.Source, &d.Type, &d.Version, &d.Key, &when, &attributes, &d.Data)
	if err != nil {
		return err
	}
	d.Position, d.Stored = position(at), nanoTime(stored)
	if d.Time, err = parseTime(when); err != nil {
		return err
	}
	return parseAttributes(&d.Message, attributes.String)
}

// seek returns the position before the first event stored at or after when, among
// those above removed. Times of storing never go back within a partition, so it
// searches by halves. What goes meanwhile is among the oldest.
func seek(st *statements, topic int64, partition int, removed, end int64, when time.Time) (int64, error) {
	low, high := removed, end // everything up to low is older, everything above high is not
	for low < high {
		middle := low + (high-low+1)/2
		var stored int64
		err := st.row("SELECT stored_at FROM deed_log WHERE topic_id = ? AND partition = ? AND position = ?",
			[]any{topic, partition, middle}, &stored)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		if stored < when.UnixNano() {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}
