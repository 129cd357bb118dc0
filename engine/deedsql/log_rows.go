package deedsql

import (
	"cmp"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
)

// rowTables are the tables on Postgres: a row of deed_log for each event, found by
// (topic, partition, position). The end of a partition is its last row.
type rowTables struct {
	dueRows
	mu        sync.Mutex
	producers map[producerKey]*passed
}

// passed is what rows of a producer may go.
type passed struct{ rows, upTo int64 }

func newRowTables() *rowTables { return &rowTables{producers: make(map[producerKey]*passed)} }

// unnest in the list of what is selected is read as it goes; in FROM it is stored first.
const insertEvents = "INSERT INTO " + logColumns + " SELECT unnest(?::bigint[]), unnest(?::integer[]), " +
	"unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::bigint[]), unnest(?::text[]), unnest(?::bytea[])"

// flush implements [tables].
func (*rowTables) flush(t *tx, b *rowBuffer) error {
	n := len(b.datas)
	if n == 0 {
		return nil
	}
	rows, err := newLogRows(t, b)
	if err != nil {
		return err
	}
	if n >= copyRows {
		err = t.session.copyIn(copyEvents, newLogReader(rows))
	} else {
		err = rows.insert(t.session, n)
	}
	if err != nil {
		return err
	}
	b.reset()
	return nil
}

// logRow is a row of deed_log.
type logRow struct {
	place
	position, stored, bytes int64
	meta, data              []byte
}

// logRows goes through the rows of a buffer.
type logRows struct {
	b      *rowBuffer
	totals map[place]int64
	row    int   // the next
	run    int   // that it belongs to
	within int64 // and which of it
	meta   int   // where its meta begins
}

func newLogRows(t *tx, b *rowBuffer) (*logRows, error) {
	totals, err := b.totals(t)
	return &logRows{b: b, totals: totals}, err
}

// next returns the next row, false after the last one.
func (l *logRows) next() (row logRow, ok bool) {
	if l.row == len(l.b.datas) {
		return row, false
	}
	r := &l.b.runs[l.run]
	row = logRow{place: r.place, position: r.position + l.within, stored: r.stored, data: l.b.datas[l.row]}
	row.meta, l.meta = l.b.metas[l.meta:l.b.ends[l.row]], l.b.ends[l.row]
	row.bytes = l.totals[r.place] + int64(len(row.data))
	l.totals[r.place] = row.bytes
	l.row++
	if l.within++; l.within == r.count {
		l.run, l.within = l.run+1, 0
	}
	return row, true
}

// insert writes n rows in one statement.
func (l *logRows) insert(s *session, n int) error {
	topics, partitions := make([]int64, 0, n), make([]int32, 0, n)
	positions, stored, bytes := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	metas, datas := make([]string, 0, n), make([][]byte, 0, n)
	for row, ok := l.next(); ok; row, ok = l.next() {
		topics, partitions = append(topics, row.topic), append(partitions, int32(row.partition))
		positions, stored = append(positions, row.position), append(stored, row.stored)
		bytes, metas, datas = append(bytes, row.bytes), append(metas, string(row.meta)), append(datas, row.data)
	}
	_, err := s.exec(insertEvents, topics, partitions, positions, stored, bytes, metas, datas)
	return err
}

// totals returns the bytes that each partition has ever stored, without what is gathered.
func (b *rowBuffer) totals(t *tx) (map[place]int64, error) {
	totals := make(map[place]int64)
	i := 0
	for _, r := range b.runs {
		if _, there := totals[r.place]; !there {
			h, err := t.head(r.place)
			if err != nil {
				return nil, err
			}
			totals[r.place] = h.bytes + h.gone
		}
		for range r.count {
			totals[r.place] -= int64(len(b.datas[i]))
			i++
		}
	}
	return totals, nil
}

// next implements [tables]: rows have no numbers.
func (*rowTables) next(*tx) (int64, error) { return 0, nil }

// Positions have no gaps, so that a range of them bounds what is read, and the sum of
// bytes bounds it to what there is room for. The first row is not joined: how a join is
// done depends on what the server knows of the table, which is nothing while it is new,
// and one way reads the whole partition.
const (
	rowsForward = "WITH f AS MATERIALIZED (SELECT position, bytes FROM deed_log WHERE topic_id = ?1 AND partition = ?2 " +
		"AND position > ?3 ORDER BY position LIMIT 1) SELECT l.position, l.stored_at, l.meta, l.data " +
		"FROM deed_log l WHERE l.topic_id = ?1 AND l.partition = ?2 AND l.position >= (SELECT position FROM f) " +
		"AND l.position < (SELECT position FROM f) + ?4 AND l.bytes <= (SELECT bytes FROM f) + ?5 ORDER BY l.position"
	rowsBackward = "WITH f AS MATERIALIZED (SELECT position, bytes FROM deed_log WHERE topic_id = ?1 AND partition = ?2 " +
		"AND position < ?3 ORDER BY position DESC LIMIT 1) SELECT l.position, l.stored_at, l.meta, l.data " +
		"FROM deed_log l WHERE l.topic_id = ?1 AND l.partition = ?2 AND l.position <= (SELECT position FROM f) " +
		"AND l.position > (SELECT position FROM f) - ?4 AND l.bytes > (SELECT bytes FROM f) - ?5 ORDER BY l.position DESC"
	mostRoom = 1 << 40 // more would overflow a sum
)

// read implements [tables].
func (*rowTables) read(q *logQuery) (query string, args []sqldriver.Value) {
	query = rowsForward
	if q.backward {
		query = rowsBackward
	}
	return query, []sqldriver.Value{
		q.topic, int64(q.partition), q.at, int64(q.limit), int64(min(max(q.room, 0), mostRoom)),
	}
}

const rowsOfStream = "SELECT l.position, l.stored_at, l.meta, l.data FROM deed_stream s " +
	"JOIN deed_log l ON l.topic_id = s.topic_id AND l.partition = ? AND l.position = s.position " +
	"WHERE s.topic_id = ? AND s.key = ? AND s.version > ? ORDER BY s.version LIMIT ?"

// streamRows is tables.stream where each event is a row.
func streamRows(topic int64, partition int, p *driver.StreamPage) (query string, args []sqldriver.Value) {
	return rowsOfStream, []sqldriver.Value{int64(partition), topic, p.Key, p.After, int64(p.Limit)}
}

// stream implements [tables].
func (*rowTables) stream(topic int64, partition int, p *driver.StreamPage) (query string, args []sqldriver.Value) {
	return streamRows(topic, partition, p)
}

// storedAt implements [tables].
func (*rowTables) storedAt(topic int64, partition int, at int64) (query string, args []any) {
	return "SELECT stored_at FROM deed_log WHERE topic_id = ? AND partition = ? AND position >= ? " +
		"ORDER BY position LIMIT 1", []any{topic, partition, at}
}

// front implements [tables].
func (*rowTables) front(t *tx, at place, limit int, scan func(position, stored, bytes int64) bool) error {
	h, err := t.head(at)
	if err != nil {
		return err
	}
	return t.session.each("SELECT position, stored_at, coalesce(octet_length(data), 0) FROM deed_log "+
		"WHERE topic_id = ? AND partition = ? AND position > ? ORDER BY position LIMIT ?", func(row []sqldriver.Value) bool {
		position, _ := row[0].(int64)
		stored, _ := row[1].(int64)
		bytes, _ := row[2].(int64)
		return scan(position, stored, bytes)
	}, at.topic, int64(at.partition), h.removed, int64(limit))
}

// cut implements [tables].
func (*rowTables) cut(t *tx, at place, upTo int64) error {
	h, err := t.head(at)
	if err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM deed_log WHERE topic_id = ? AND partition = ? AND position > ? AND position <= ?",
		at.topic, at.partition, h.removed, upTo)
	return err
}

// drop implements [tables].
func (*rowTables) drop(t *tx, topic int64, limit int) (removed int64, err error) {
	return t.exec("DELETE FROM deed_log WHERE ctid = ANY (ARRAY (SELECT ctid FROM deed_log WHERE topic_id = ? LIMIT ?))",
		topic, limit)
}

// addHeads implements [tables].
func (*rowTables) addHeads(t *tx, topic int64, partitions int) error {
	_, err := t.exec("INSERT INTO deed_partition (topic_id, partition) SELECT ?, generate_series(0, ? - 1)",
		topic, partitions)
	return err
}

// dropHeads implements [tables].
func (*rowTables) dropHeads(t *tx, topic int64) error {
	_, err := t.exec("DELETE FROM deed_partition WHERE topic_id = ?", topic)
	return err
}

// The columns of a head, of p and the last row of the log, l.
const (
	headColumns = "coalesce(l.position, 0), coalesce(l.stored_at, 0), coalesce(l.bytes, 0), " +
		"p.removed, p.removed_bytes, p.scheduled, p.due_bytes"
	headLast = " LEFT JOIN LATERAL (SELECT e.position, e.stored_at, e.bytes FROM deed_log e " +
		"WHERE e.topic_id = p.topic_id AND e.partition = p.partition ORDER BY e.position DESC LIMIT 1) l ON true "
)

func (h *head) dest() []any {
	return []any{&h.position, &h.stored, &h.bytes, &h.removed, &h.gone, &h.scheduled, &h.dueBytes}
}

// scanned completes a head whose dest was scanned.
func (h *head) scanned() *head {
	h.bytes -= h.gone
	h.was = h.changing()
	return h
}

// head implements [tables]. Who asks for one partition whose lock he does not hold asks
// for all of them in turn.
func (*rowTables) head(t *tx, at place) (*head, error) {
	var found *head
	err := t.each("SELECT p.partition, "+headColumns+" FROM deed_partition p"+headLast+"WHERE p.topic_id = ?",
		[]any{at.topic}, func(rows *sql.Rows) error {
			h, other := &head{}, place{topic: at.topic}
			if err := rows.Scan(append([]any{&other.partition}, h.dest()...)...); err != nil {
				return err
			}
			if t.known.heads[other] == nil { // else it is known from when its lock was taken
				t.known.heads[other] = h.scanned()
			}
			if other == at {
				found = t.known.heads[other]
			}
			return nil
		})
	if err == nil && found == nil {
		err = sql.ErrNoRows
	}
	return found, err
}

// writeHeads implements [tables]. The end is in the log; of the rest it writes how much
// it changed, since others may change it as well.
func (*rowTables) writeHeads(t *tx) error {
	places := slices.SortedFunc(maps.Keys(t.heads), func(a, b place) int { // one order for all
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	for _, at := range places {
		h := t.heads[at]
		now := h.changing()
		if h.dirty = false; now == h.was {
			continue
		}
		_, err := t.exec("UPDATE deed_partition SET removed = greatest(removed, ?), removed_bytes = removed_bytes + ?, "+
			"scheduled = scheduled + ?, due_bytes = due_bytes + ? WHERE topic_id = ? AND partition = ?",
			now.removed, now.gone-h.was.gone, now.scheduled-h.was.scheduled, now.dueBytes-h.was.dueBytes,
			at.topic, at.partition)
		if err != nil {
			return err
		}
		h.was = now
	}
	return nil
}

// producer implements [tables].
func (*rowTables) producer(t *tx, key producerKey) (*producer, error) {
	p := &producer{}
	err := t.row("SELECT last_seq, at FROM deed_producer WHERE topic_id = ? AND partition = ? AND producer = ? "+
		"ORDER BY last_seq DESC LIMIT 1", []any{key.topic, key.partition, key.name}, &p.last, &p.at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}

const (
	insertProducers = "INSERT INTO deed_producer (topic_id, partition, producer, last_seq, at) " +
		"SELECT u.topic, u.part, u.producer, u.seq, ?::bigint FROM " +
		"unnest(?::bigint[], ?::integer[], ?::text[], ?::bigint[]) u (topic, part, producer, seq)"
	// passedRows is how many rows a producer has on a partition before the first ones go.
	passedRows = 64
)

// writeProducers implements [tables]. A number is a row of its own, and not one that
// every batch changes; those that it passed go a few at a time.
func (r *rowTables) writeProducers(t *tx) error {
	var topics, seqs []int64
	var partitions []int32
	var names []string
	for key, p := range t.producers {
		if !p.dirty {
			continue
		}
		p.dirty, p.at = false, t.now
		topics, partitions = append(topics, key.topic), append(partitions, int32(key.partition))
		names, seqs = append(names, key.name), append(seqs, p.last)
		if err := r.forgetPassed(t, key, p.last); err != nil {
			return err
		}
	}
	if len(topics) == 0 {
		return nil
	}
	_, err := t.session.exec(insertProducers, t.now, topics, partitions, names, seqs)
	return err
}

// forgetPassed removes the numbers before last once there are enough of them.
func (r *rowTables) forgetPassed(t *tx, key producerKey, last int64) error {
	from, enough := r.passed(key, last)
	if !enough {
		return nil
	}
	_, err := t.exec("DELETE FROM deed_producer WHERE topic_id = ? AND partition = ? AND producer = ? "+
		"AND last_seq >= ? AND last_seq < ?", key.topic, key.partition, key.name, from, last)
	return err
}

// passed counts a row of a producer and reports whether those from a number on up to
// last are enough to remove them.
func (r *rowTables) passed(key producerKey, last int64) (from int64, enough bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.producers) > knownProducers {
		clear(r.producers)
	}
	p := r.producers[key]
	if p == nil {
		p = &passed{}
		r.producers[key] = p
	}
	if p.rows++; p.rows < passedRows {
		return 0, false
	}
	from = p.upTo
	p.rows, p.upTo = 0, last-1
	return from, true
}

// addKind implements [tables]. Two processes may store the same one, which does no harm.
func (*rowTables) addKind(t *tx, k kind) (number int64, err error) {
	err = t.row("INSERT INTO deed_kind (source, type, version, content_type) VALUES (?, ?, ?, ?) RETURNING kind",
		[]any{k.source, k.name, k.version, k.contentType}, &number)
	return number, err
}
