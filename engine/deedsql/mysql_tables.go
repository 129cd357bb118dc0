package deedsql

import (
	sqldriver "database/sql/driver"
	"math"
	"strings"
)

// mysqlTables are the tables on MySQL and MariaDB. Rows of deed_log lie in the order of
// partitions and positions, which InnoDB keeps together by itself. What is beside the
// events is as on SQLite.
type mysqlTables struct {
	runTables
	dueRows
	room int // bytes of data that one statement may hold
}

const (
	mysqlColumns = 7
	mysqlRows    = 256 // of one statement
)

// mysqlInserts are the statements for 1, 2, 4 … rows of the log.
var mysqlInserts = func() (queries []string) {
	row := "(?" + strings.Repeat(", ?", mysqlColumns-1) + ")"
	for n := 1; n <= mysqlRows; n *= 2 {
		queries = append(queries, "INSERT INTO deed_log (topic_id, partition, position, stored_at, bytes, meta, data) "+
			"VALUES "+row+strings.Repeat(", "+row, n-1))
	}
	return queries
}()

// flush implements [tables].
func (m mysqlTables) flush(t *tx, b *rowBuffer) error {
	if len(b.datas) == 0 {
		return nil
	}
	totals, err := b.totals(t)
	if err != nil {
		return err
	}
	b.args = b.args[:0]
	size, r, of := 0, 0, int64(0) // event number of run r
	for i, meta := range b.texts() {
		data := b.datas[i]
		more := len(meta) + len(data)
		if len(b.args) == mysqlRows*mysqlColumns || size > 0 && size+more > m.room {
			if err := insertMySQL(t, b.args); err != nil {
				return err
			}
			b.args, size = b.args[:0], 0
		}
		size += more
		run := &b.runs[r]
		totals[run.place] += int64(len(data))
		b.args = append(b.args, run.topic, int64(run.partition), run.position+of, run.stored, totals[run.place],
			meta, blob(data))
		if of++; of == run.count {
			r, of = r+1, 0
		}
	}
	if err := insertMySQL(t, b.args); err != nil {
		return err
	}
	b.reset()
	return nil
}

// blob is data as a column, NULL for none.
func blob(data []byte) sqldriver.Value {
	if len(data) == 0 {
		return nil
	}
	return data
}

// insertMySQL writes rows of the log, in statements of as many rows as there are left.
func insertMySQL(t *tx, args []sqldriver.Value) error {
	for i := len(mysqlInserts) - 1; i >= 0; i-- {
		for n := mysqlColumns << i; len(args) >= n; args = args[n:] {
			if _, err := t.session.exec(mysqlInserts[i], args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// next implements [tables]: rows have no number.
func (mysqlTables) next(*tx) (int64, error) { return 0, nil }

// The head is one row, so that its columns are constants by the time that MySQL looks for
// a range of positions: positions have no gaps, and a range of them bounds what is read.
// The sum of bytes bounds it to what there is room for.
const (
	mysqlRange = "SELECT l.position, l.stored_at, l.meta, l.data FROM deed_head h " +
		"JOIN deed_log l ON l.topic_id = h.topic_id AND l.partition = h.partition WHERE h.topic_id = ? AND h.partition = ? "
	mysqlForward = mysqlRange + "AND l.position > greatest(?, h.removed) AND l.position <= greatest(?, h.removed) + ? " +
		"AND l.bytes <= ? + (SELECT bytes FROM deed_log WHERE topic_id = ? AND partition = ? AND position > ? " +
		"ORDER BY position LIMIT 1) ORDER BY l.position"
	mysqlBackward = mysqlRange + "AND l.position < least(?, h.position + 1) " +
		"AND l.position >= least(?, h.position + 1) - ? " +
		"AND l.bytes > - ? + (SELECT bytes FROM deed_log WHERE topic_id = ? AND partition = ? AND position < ? " +
		"ORDER BY position DESC LIMIT 1) ORDER BY l.position DESC"
)

// read implements [tables].
func (mysqlTables) read(q *logQuery) (query string, args []sqldriver.Value) {
	query = mysqlForward
	if q.backward {
		query = mysqlBackward
	}
	partition, room := int64(q.partition), int64(min(max(q.room, 0), mostRoom))
	at := min(q.at, math.MaxInt64/2) // sums do not overflow
	return query, []sqldriver.Value{
		q.topic, partition, at, at, int64(q.limit), room, q.topic, partition, at,
	}
}

// storedAt implements [tables].
func (mysqlTables) storedAt(topic int64, partition int, at int64) (query string, args []any) {
	return "SELECT stored_at FROM deed_log WHERE topic_id = ? AND partition = ? AND position >= ? " +
		"ORDER BY position LIMIT 1", []any{topic, partition, at}
}

// front implements [tables]. An event's own bytes are what the sum grows by.
func (mysqlTables) front(t *tx, at place, limit int, scan func(position, stored, bytes int64) bool) error {
	h, err := t.head(at)
	if err != nil {
		return err
	}
	before := h.gone
	return t.session.each("SELECT position, stored_at, bytes FROM deed_log WHERE topic_id = ? AND partition = ? "+
		"AND position > ? ORDER BY position LIMIT ?", func(row []sqldriver.Value) bool {
		position, _ := row[0].(int64)
		stored, _ := row[1].(int64)
		total, _ := row[2].(int64)
		bytes := total - before
		before = total
		return scan(position, stored, bytes)
	}, at.topic, int64(at.partition), h.removed, int64(limit))
}

// cut implements [tables].
func (mysqlTables) cut(t *tx, at place, upTo int64) error {
	_, err := t.exec("DELETE FROM deed_log WHERE topic_id = ? AND partition = ? AND position <= ?",
		at.topic, at.partition, upTo)
	return err
}

// drop implements [tables].
func (mysqlTables) drop(t *tx, topic int64, limit int) (removed int64, err error) {
	return t.exec("DELETE FROM deed_log WHERE topic_id = ? LIMIT ?", topic, limit)
}

// mysqlHead are the columns of a head.
const mysqlHead = "position, stored_at, removed, bytes, removed_bytes, scheduled, due_bytes"

// head implements [tables]. Whoever holds the partition's lock has the row locked: from
// the beginning, as a rule, or from here on, when the topic's number was not known then.
func (mysqlTables) head(t *tx, at place) (*head, error) {
	query := "SELECT " + mysqlHead + " FROM deed_head WHERE topic_id = ? AND partition = ?"
	if t.holds(at) {
		query += forUpdate
	}
	h := &head{}
	err := t.row(query, []any{at.topic, at.partition},
		&h.position, &h.stored, &h.removed, &h.bytes, &h.gone, &h.scheduled, &h.dueBytes)
	h.was = h.changing()
	return h, err
}

// holds reports whether the transaction may move the end of a partition.
func (t *tx) holds(at place) bool {
	for name, topic := range t.topics {
		if topic.id == at.topic {
			return t.needs.holds(partitionLock(name, at.partition))
		}
	}
	return false
}

// writeHeads implements [tables]. What retention has removed of a partition that others
// may move is taken off, under the topic's lock.
func (mysqlTables) writeHeads(t *tx) error {
	values := t.rows.args[:0]
	for at, h := range t.heads {
		if !h.dirty {
			continue
		}
		if h.dirty = false; t.holds(at) {
			values = append(values, at.topic, int64(at.partition),
				h.position, h.stored, h.removed, h.bytes, h.gone, h.scheduled, h.dueBytes)
		} else if err := takeOff(t, at, h); err != nil {
			return err
		}
		h.was = h.changing()
	}
	t.rows.args = values[:0]
	return mysqlHeads.exec(t.session, values)
}

func takeOff(t *tx, at place, h *head) error {
	gone := h.gone - h.was.gone
	_, err := t.exec("UPDATE deed_head SET removed = ?, bytes = bytes - ?, removed_bytes = removed_bytes + ? "+
		"WHERE topic_id = ? AND partition = ?", h.removed, gone, gone, at.topic, at.partition)
	return err
}

// The rows of heads are there already.
var mysqlHeads = newBulk("deed_head (topic_id, partition, "+mysqlHead+")",
	"ON CONFLICT (topic_id, partition) DO UPDATE SET position = excluded.position, stored_at = excluded.stored_at, "+
		"removed = excluded.removed, bytes = excluded.bytes, removed_bytes = excluded.removed_bytes, "+
		"scheduled = excluded.scheduled, due_bytes = excluded.due_bytes")
