package deedsql

import (
	sqldriver "database/sql/driver"
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
		queries = append(queries, "INSERT INTO deed_log (topic_id, partition, position, stored_at, bytes, meta, data) VALUES "+
			row+strings.Repeat(", "+row, n-1))
	}
	return queries
}()

// flush implements [tables].
func (m mysqlTables) flush(t *tx, b *rowBuffer) error {
	if len(b.datas) == 0 {
		return nil
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
		b.args = append(b.args, run.topic, int64(run.partition), run.position+of, run.stored, int64(len(data)), meta, blob(data))
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

// read implements [tables].
func (mysqlTables) read(q *logQuery) (query string, args []sqldriver.Value) {
	query = "SELECT position, stored_at, meta, data FROM deed_log WHERE topic_id = ? AND partition = ? " +
		"AND position > ? ORDER BY position LIMIT ?"
	if q.backward {
		query = "SELECT position, stored_at, meta, data FROM deed_log WHERE topic_id = ? AND partition = ? " +
			"AND position < ? ORDER BY position DESC LIMIT ?"
	}
	return query, []sqldriver.Value{q.topic, int64(q.partition), q.at, int64(q.limit)}
}

// storedAt implements [tables].
func (mysqlTables) storedAt(topic int64, partition int, at int64) (query string, args []any) {
	return "SELECT stored_at FROM deed_log WHERE topic_id = ? AND partition = ? AND position >= ? ORDER BY position LIMIT 1",
		[]any{topic, partition, at}
}

// front implements [tables].
func (mysqlTables) front(t *tx, at place, limit int, scan func(position, stored, bytes int64) bool) error {
	return t.session.each("SELECT position, stored_at, bytes FROM deed_log WHERE topic_id = ? AND partition = ? "+
		"ORDER BY position LIMIT ?", func(row []sqldriver.Value) bool {
		position, _ := row[0].(int64)
		stored, _ := row[1].(int64)
		bytes, _ := row[2].(int64)
		return scan(position, stored, bytes)
	}, at.topic, int64(at.partition), int64(limit))
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

const mysqlHead = "SELECT position, stored_at, removed, bytes, scheduled, due_bytes FROM deed_head " +
	"WHERE topic_id = ? AND partition = ?"

// head implements [tables]. Whoever holds the partition's lock has the row locked: from
// the beginning, as a rule, or from here on, when the topic's number was not known then.
func (mysqlTables) head(t *tx, at place) (*head, error) {
	query := mysqlHead
	if t.holds(at) {
		query += forUpdate
	}
	h := &head{}
	err := t.row(query, []any{at.topic, at.partition},
		&h.position, &h.stored, &h.removed, &h.bytes, &h.scheduled, &h.dueBytes)
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
func (m mysqlTables) writeHeads(t *tx) error {
	for at, h := range t.heads {
		if !h.dirty || t.holds(at) {
			continue
		}
		_, err := t.exec("UPDATE deed_head SET removed = ?, bytes = bytes - ? WHERE topic_id = ? AND partition = ?",
			h.removed, h.gone, at.topic, at.partition)
		if err != nil {
			return err
		}
		h.dirty, h.gone = false, 0
	}
	return m.runTables.writeHeads(t)
}
