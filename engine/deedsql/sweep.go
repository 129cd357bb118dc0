package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	producerLife = 7 * 24 * time.Hour // a producer that was silent for so long starts anew
	memberLife   = time.Minute        // a lapsed member may still come back to its row
)

// sweep removes a bounded part of what nobody needs any more. The writer runs it
// now and then as a job among others.
func sweep(t *tx) error {
	_, err := t.exec("DELETE FROM deed_producer WHERE (producer, topic_id, partition) IN "+
		"(SELECT producer, topic_id, partition FROM deed_producer WHERE at < ? LIMIT ?)",
		t.now-int64(producerLife), sweepRows)
	if err != nil {
		return err
	}
	var silent []string
	err = t.each("SELECT member FROM deed_member WHERE expires < ? LIMIT ?",
		[]any{t.now - int64(memberLife), sweepRows}, func(rows *sql.Rows) error {
			var member string
			err := rows.Scan(&member)
			silent = append(silent, member)
			return err
		})
	if err != nil {
		return err
	}
	for _, member := range silent {
		if err := t.removeMember(member); err != nil {
			return err
		}
	}
	if err := sweepWindows(t); err != nil {
		return err
	}
	_, err = sweepSome(t)
	return err
}

// sweepWindows removes rows of eras that no window reaches back to.
func sweepWindows(t *tx) error {
	_, err := t.exec("DELETE FROM deed_window WHERE (topic_id, era, source, id) IN "+
		"(SELECT w.topic_id, w.era, w.source, w.id "+
		"FROM deed_topic p JOIN deed_window w ON w.topic_id = p.id AND w.era < ? / p.dedupe - 1 WHERE p.dedupe > 0 LIMIT ?)",
		t.now, sweepRows)
	return err
}

// sweepDropped removes the rows of deleted topics and groups, a few at a time.
func (c *Conn) sweepDropped(ctx context.Context) error {
	for more := true; more; {
		err := c.write(ctx, txEvents/8, func(t *tx) (err error) {
			more, err = sweepSome(t)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropQueries remove rows of a dropped topic or group, each at most a number.
var dropQueries = map[string][]string{
	"topic": {
		"DELETE FROM deed_log WHERE (topic_id, partition, position) IN " +
			"(SELECT topic_id, partition, position FROM deed_log WHERE topic_id = ? LIMIT ?)",
		"DELETE FROM deed_due WHERE accepted IN (SELECT accepted FROM deed_due WHERE topic_id = ? LIMIT ?)",
		"DELETE FROM deed_window WHERE (topic_id, era, source, id) IN " +
			"(SELECT topic_id, era, source, id FROM deed_window WHERE topic_id = ? LIMIT ?)",
		"DELETE FROM deed_producer WHERE (producer, topic_id, partition) IN " +
			"(SELECT producer, topic_id, partition FROM deed_producer WHERE topic_id = ? LIMIT ?)",
	},
	"group": {
		"DELETE FROM deed_letter WHERE letter IN (SELECT letter FROM deed_letter WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_mark WHERE (group_id, partition, position) IN " +
			"(SELECT group_id, partition, position FROM deed_mark WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_claim WHERE (group_id, partition) IN " +
			"(SELECT group_id, partition FROM deed_claim WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_seat WHERE seat IN (SELECT seat FROM deed_seat WHERE group_id = ? LIMIT ?)",
	},
}

// sweepSome removes some rows of one dropped topic or group and reports whether
// there are more.
func sweepSome(t *tx) (more bool, err error) {
	var kind string
	var id int64
	err = t.row("SELECT kind, id FROM deed_dropped LIMIT 1", nil, &kind, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, query := range dropQueries[kind] {
		n, err := t.exec(query, id, sweepRows)
		if err != nil || n == sweepRows {
			return true, err
		}
	}
	_, err = t.exec("DELETE FROM deed_dropped WHERE kind = ? AND id = ?", kind, id)
	return true, err
}
