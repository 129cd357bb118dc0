package deedsql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
)

// Events are found by the run that holds the position and its followers. CROSS keeps
// the order of the loops, which is the order of the events. LIMIT with a bare parameter
// would have the statement parsed again for each value.
const (
	selectLog     = "SELECT r.position + l.n - r.n, r.stored_at, l.meta, l.data FROM deed_run r CROSS JOIN deed_log l "
	selectForward = selectLog + "ON l.n >= r.n + max(0, ?3 + 1 - r.position) AND l.n < r.n + r.count " +
		"WHERE r.topic_id = ?1 AND r.partition = ?2 " +
		"AND r.position >= coalesce((SELECT max(position) FROM deed_run " +
		"WHERE topic_id = ?1 AND partition = ?2 AND position <= ?3 + 1), 0) ORDER BY r.position, l.n LIMIT ?4 + 0"
	selectBackward = selectLog + "ON l.n >= r.n AND l.n < r.n + min(r.count, ?3 - r.position) " +
		"WHERE r.topic_id = ?1 AND r.partition = ?2 " +
		"AND r.position < ?3 ORDER BY r.position DESC, l.n DESC LIMIT ?4 + 0"
)

// read implements [tables].
func (runTables) read(q *logQuery) (query string, args []sqldriver.Value) {
	query = selectForward
	if q.backward {
		query = selectBackward
	}
	return query, []sqldriver.Value{q.topic, int64(q.partition), q.at, int64(q.limit)}
}

// storedAt implements [tables].
func (runTables) storedAt(topic int64, partition int, at int64) (query string, args []any) {
	return "SELECT stored_at FROM deed_run WHERE topic_id = ? AND partition = ? AND position + count > ? " +
			"AND position >= coalesce((SELECT max(position) FROM deed_run WHERE topic_id = ? AND partition = ? " +
			"AND position <= ?), 0) ORDER BY position LIMIT 1",
		[]any{topic, partition, at, topic, partition, at}
}

// addHeads implements [tables].
func (runTables) addHeads(t *tx, topic int64, partitions int) error {
	for p := range partitions {
		_, err := t.exec("INSERT INTO deed_head (topic_id, partition, position, stored_at) VALUES (?, ?, 0, 0)", topic, p)
		if err != nil {
			return err
		}
	}
	return nil
}

// dropHeads implements [tables].
func (runTables) dropHeads(t *tx, topic int64) error {
	_, err := t.exec("DELETE FROM deed_head WHERE topic_id = ?", topic)
	return err
}

// head implements [tables].
func (runTables) head(t *tx, at place) (*head, error) {
	h := &head{}
	err := t.row("SELECT position, stored_at, removed, bytes, scheduled, due_bytes FROM deed_head "+
		"WHERE topic_id = ? AND partition = ?", []any{at.topic, at.partition},
		&h.position, &h.stored, &h.removed, &h.bytes, &h.scheduled, &h.dueBytes)
	return h, err
}

// writeHeads implements [tables].
func (runTables) writeHeads(t *tx) error {
	values := t.rows.args[:0]
	for at, h := range t.heads {
		if h.dirty {
			values = append(values, at.topic, int64(at.partition),
				h.position, h.stored, h.removed, h.bytes, h.scheduled, h.dueBytes)
			h.dirty = false
		}
	}
	t.rows.args = values[:0]
	return updateHeads.exec(t.session, values)
}

// producer implements [tables].
func (runTables) producer(t *tx, key producerKey) (*producer, error) {
	p := &producer{}
	err := t.row("SELECT last_seq, at FROM deed_producer WHERE producer = ? AND topic_id = ? AND partition = ?",
		[]any{key.name, key.topic, key.partition}, &p.last, &p.at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}

// writeProducers implements [tables].
func (runTables) writeProducers(t *tx) error {
	values := t.rows.args[:0]
	var late []sqldriver.Value
	for key, p := range t.producers {
		switch {
		case !p.dirty:
			continue
		case t.now-p.at < int64(producerAge):
			values = append(values, key.name, key.topic, int64(key.partition), p.last, p.at)
		default:
			p.at = t.now
			late = append(late, key.name, key.topic, int64(key.partition), p.last, p.at)
		}
		p.dirty = false
	}
	t.rows.args = values[:0]
	if err := updateProducers.exec(t.session, values); err != nil {
		return err
	}
	return renewProducers.exec(t.session, late)
}

// The rows of heads are there already.
var (
	updateHeads = newBulk("deed_head (topic_id, partition, position, stored_at, removed, bytes, scheduled, due_bytes)",
		"ON CONFLICT (topic_id, partition) DO UPDATE SET position = excluded.position, stored_at = excluded.stored_at, "+
			"removed = excluded.removed, bytes = excluded.bytes, scheduled = excluded.scheduled, "+
			"due_bytes = excluded.due_bytes")
	intoProducers   = "deed_producer (producer, topic_id, partition, last_seq, at)"
	onProducer      = "ON CONFLICT (producer, topic_id, partition) DO UPDATE SET last_seq = excluded.last_seq"
	updateProducers = newBulk(intoProducers, onProducer)
	renewProducers  = newBulk(intoProducers, onProducer+", at = excluded.at")
)

// addKind implements [tables].
func (runTables) addKind(t *tx, k kind) (int64, error) {
	return t.session.insert("INSERT INTO deed_kind (source, type, version, content_type) VALUES (?, ?, ?, ?)",
		k.source, k.name, int64(k.version), k.contentType)
}
