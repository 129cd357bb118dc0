package deedsql

import (
	sqldriver "database/sql/driver"
	"slices"

	"github.com/deedgo/deed/driver"
)

// dueRows keep delayed events in deed_due until they are moved to the log.
type dueRows struct{}

const (
	moveRows  = 2048    // moved at once
	moveBytes = 8 << 20 // of data, after which no further one is
)

// schedule implements [dues].
func (dueRows) schedule(t *tx, at place, m *driver.Message, kind int64) error {
	_, err := t.session.exec("INSERT INTO deed_due (topic_id, due, partition, accepted_at, meta, data) "+
		"VALUES (?, ?, ?, ?, ?, ?)",
		at.topic, dueValue(m.NotBefore), int64(at.partition), t.now, string(appendMeta(nil, m, kind)), m.Data)
	return err
}

// writeDues implements [dues].
func (dueRows) writeDues(*tx) error { return nil }

// due implements [dues].
func (dueRows) due(t *tx, topic int64) (some []dueEvent, err error) {
	bytes := int64(0)
	err = t.session.each("SELECT accepted, due, partition, meta, data FROM deed_due WHERE topic_id = ? AND due <= ? "+
		"ORDER BY due, accepted LIMIT ? + 0", func(row []sqldriver.Value) bool {
		e := dueEvent{place: place{topic: topic}}
		e.accepted, _ = row[0].(int64)
		e.due, _ = row[1].(int64)
		partition, _ := row[2].(int64)
		e.partition = int(partition)
		e.meta, _ = row[3].(string)
		e.data, _ = row[4].([]byte)
		e.bytes = int64(len(e.data))
		some = append(some, e)
		bytes += e.bytes
		return bytes < moveBytes
	}, topic, t.now, int64(moveRows))
	return some, err
}

// give implements [dues].
func (dueRows) give(t *tx, e *dueEvent, position, stored int64) error {
	t.rows.metas = append(t.rows.metas, e.meta...)
	return t.added(e.place, position, stored, e.data)
}

// given implements [dues].
func (dueRows) given(t *tx, _ int64, some []dueEvent) error {
	moved := make([]int64, len(some))
	for i := range some {
		moved[i] = some[i].accepted
	}
	for ids := range slices.Chunk(moved, idsAtOnce) {
		query := "DELETE FROM deed_due WHERE accepted IN (" + places(idsAtOnce) + ")"
		if _, err := t.exec(query, padded(ids)...); err != nil {
			return err
		}
	}
	return nil
}

// dropDues implements [dues].
func (dueRows) dropDues(t *tx, topic int64, limit int) (int64, error) {
	return t.exec("DELETE FROM deed_due WHERE accepted IN (SELECT accepted FROM deed_due WHERE topic_id = ? LIMIT ?)",
		topic, limit)
}
