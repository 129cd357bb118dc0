package deedsql

import (
	sqldriver "database/sql/driver"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// runTables are the log's tables on SQLite. deed_log has the events in the order of storing
// and no index: appending to the end of a table costs a third of inserting into the end
// of each partition. Where the events of a partition are is in deed_run, which has one
// row for each run of them that a transaction stored.
type runTables struct{}

// sqliteTables are all that there is on SQLite.
type sqliteTables struct {
	runTables
	dueRuns
}

const insertRows = 50 // of one statement: more bring nothing

var insertRuns = newBulk("deed_run (topic_id, partition, position, n, count, stored_at)", "")

// insertLog are the statements for rows of the log, those of many rows first.
var insertLog = func() (all []logInsert) {
	for _, rows := range []int{insertRows, 32, 16, 8, 4, 2, 1} {
		all = append(all, logInsert{
			rows, "INSERT INTO deed_log (meta, data) VALUES (?, ?)" + strings.Repeat(", (?, ?)", rows-1),
		})
	}
	return all
}()

type logInsert struct {
	rows  int
	query string
}

// flush implements [tables].
func (runTables) flush(t *tx, b *rowBuffer) error {
	if err := flushRows(t, b); err != nil {
		return err
	}
	b.args = b.args[:0]
	for _, r := range b.runs {
		b.args = append(b.args, r.topic, int64(r.partition), r.position, r.row, r.count, r.stored)
	}
	if err := insertRuns.exec(t.session, b.args); err != nil {
		return err
	}
	b.reset()
	return nil
}

// flushRows writes the events themselves.
func flushRows(t *tx, b *rowBuffer) error {
	if len(b.datas) == 0 {
		return nil
	}
	b.args = b.args[:0]
	for i, meta := range b.texts() {
		b.args = append(b.args, meta, b.datas[i])
	}
	last := int64(0)
	args := b.args
	for _, stmt := range insertLog {
		for n := 2 * stmt.rows; len(args) >= n; args = args[n:] {
			var err error
			if last, err = t.session.insert(stmt.query, args[:n]...); err != nil {
				return err
			}
		}
	}
	if last != t.known.row {
		return fmt.Errorf("the log's rows end at %d, want %d", last, t.known.row)
	}
	return nil
}

// next implements [tables]. A table's next row follows its last.
func (runTables) next(t *tx) (int64, error) {
	if !t.known.rowKnown {
		err := t.row("SELECT coalesce(max(n), 0) FROM deed_log", nil, &t.known.row)
		if err != nil {
			return 0, err
		}
		t.known.rowKnown = true
	}
	t.known.row++
	return t.known.row, nil
}

// stream implements [tables]. Each event is found by the run that holds its position.
func (runTables) stream(topic int64, partition int, p *driver.StreamPage) (query string, args []sqldriver.Value) {
	return "SELECT s.position, r.stored_at, l.meta, l.data FROM deed_stream s " +
			"CROSS JOIN deed_run r ON r.topic_id = s.topic_id AND r.partition = ?3 AND r.position = " +
			"(SELECT max(position) FROM deed_run WHERE topic_id = s.topic_id AND partition = ?3 AND position <= s.position) " +
			"CROSS JOIN deed_log l ON l.n = r.n + s.position - r.position " +
			"WHERE s.topic_id = ?1 AND s.key = ?2 AND s.version > ?4 ORDER BY s.version LIMIT ?5 + 0",
		[]sqldriver.Value{topic, p.Key, int64(partition), p.After, int64(p.Limit)}
}

// front implements [tables]. Rows are read one by one, so that there is no limit to tell.
func (runTables) front(t *tx, at place, _ int, scan func(position, stored, bytes int64) bool) error {
	return t.session.each("SELECT r.position + l.n - r.n, r.stored_at, coalesce(length(l.data), 0) FROM deed_run r "+
		"CROSS JOIN deed_log l ON l.n >= r.n AND l.n < r.n + r.count WHERE r.topic_id = ? AND r.partition = ? "+
		"ORDER BY r.position, l.n", func(row []sqldriver.Value) bool {
		position, _ := row[0].(int64)
		stored, _ := row[1].(int64)
		bytes, _ := row[2].(int64)
		return scan(position, stored, bytes)
	}, at.topic, int64(at.partition))
}

// cut implements [tables].
func (runTables) cut(t *tx, at place, upTo int64) error {
	var runs []run
	err := t.session.each("SELECT position, n, count FROM deed_run WHERE topic_id = ? AND partition = ? "+
		"AND position <= ? ORDER BY position", func(row []sqldriver.Value) bool {
		r := run{place: at}
		r.position, _ = row[0].(int64)
		r.row, _ = row[1].(int64)
		r.count, _ = row[2].(int64)
		runs = append(runs, r)
		return true
	}, at.topic, int64(at.partition), upTo)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := shorten(t, r, min(r.count, upTo-r.position+1)); err != nil {
			return err
		}
	}
	return nil
}

// shorten removes the first events of a run, and the run when none is left.
func shorten(t *tx, r run, events int64) error {
	_, err := t.session.exec("DELETE FROM deed_log WHERE n >= ? AND n < ?", r.row, r.row+events)
	if err != nil {
		return err
	}
	t.known.rowKnown = false // it may have been the table's last
	if events == r.count {
		_, err = t.session.exec("DELETE FROM deed_run WHERE topic_id = ? AND partition = ? AND position = ?",
			r.topic, int64(r.partition), r.position)
		return err
	}
	_, err = t.session.exec("UPDATE deed_run SET position = position + ?, n = n + ?, count = count - ? "+
		"WHERE topic_id = ? AND partition = ? AND position = ?",
		events, events, events, r.topic, int64(r.partition), r.position)
	return err
}

// drop implements [tables].
func (runTables) drop(t *tx, topic int64, limit int) (removed int64, err error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	for removed < int64(limit) {
		var r run
		err := t.session.each("SELECT partition, position, n, count FROM deed_run WHERE topic_id = ? "+
			"ORDER BY partition, position LIMIT 1", func(row []sqldriver.Value) bool {
			partition, _ := row[0].(int64)
			r.place = place{topic, int(partition)}
			r.position, _ = row[1].(int64)
			r.row, _ = row[2].(int64)
			r.count, _ = row[3].(int64)
			return true
		}, topic)
		if err != nil || r.count == 0 {
			return removed, err
		}
		n := min(r.count, int64(limit)-removed)
		if err := shorten(t, r, n); err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}
