package deedsql

import (
	"cmp"
	sqldriver "database/sql/driver"
	"slices"

	"github.com/deedgo/deed/driver"
)

// dueRuns keep delayed events in the log, where they lie in the order of acceptance and
// in no run. To move one is to put it into a run. In a table of their own each would
// leave another page behind, in whatever order they are due, and be written twice.
type dueRuns struct{}

// schedule implements [dues].
func (dueRuns) schedule(t *tx, at place, m *driver.Message, kind int64) error {
	t.rows.metas = appendMeta(t.rows.metas, m, kind)
	row, err := t.addRow(m.Data)
	if err != nil {
		return err
	}
	t.dues = append(t.dues, dueEvent{place: at, due: dueValue(m.NotBefore), accepted: row, bytes: int64(len(m.Data))})
	return t.flushFull()
}

var insertDues = newBulk("deed_due (topic_id, due, n, partition, accepted_at, bytes)", "")

// compareDues is the order of deed_due.
func compareDues(a, b dueEvent) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.due, b.due), cmp.Compare(a.accepted, b.accepted))
}

// writeDues implements [dues]. In the table's order each of its pages is changed once.
func (dueRuns) writeDues(t *tx) error {
	slices.SortFunc(t.dues, compareDues)
	values := t.rows.args[:0]
	for _, e := range t.dues {
		values = append(values, e.topic, e.due, e.accepted, int64(e.partition), t.now, e.bytes)
	}
	t.dues, t.rows.args = t.dues[:0], values[:0]
	return insertDues.exec(t.session, values)
}

// due implements [dues].
func (dueRuns) due(t *tx, topic int64) (some []dueEvent, err error) {
	if err := t.flush(); err != nil { // the same transaction may have scheduled some
		return nil, err
	}
	err = t.session.each("SELECT due, n, partition, bytes FROM deed_due WHERE topic_id = ? AND due <= ? "+
		"ORDER BY due, n LIMIT ? + 0", func(row []sqldriver.Value) bool {
		e := dueEvent{place: place{topic: topic}}
		e.due, _ = row[0].(int64)
		e.accepted, _ = row[1].(int64)
		partition, _ := row[2].(int64)
		e.partition = int(partition)
		e.bytes, _ = row[3].(int64)
		some = append(some, e)
		return true
	}, topic, t.now, int64(moveEvents))
	return some, err
}

// give implements [dues].
func (dueRuns) give(t *tx, e *dueEvent, position, stored int64) error {
	return t.put(e.place, position, stored, e.accepted)
}

// given implements [dues].
func (dueRuns) given(t *tx, topic int64, some []dueEvent) error {
	last := slices.MaxFunc(some, compareDues)
	_, err := t.exec("DELETE FROM deed_due WHERE topic_id = ? AND (due, n) <= (?, ?)", topic, last.due, last.accepted)
	return err
}

// dropDues implements [dues].
func (dueRuns) dropDues(t *tx, topic int64, limit int) (int64, error) {
	const first = " FROM deed_due WHERE topic_id = ? ORDER BY due, n LIMIT ?)"
	if _, err := t.exec("DELETE FROM deed_log WHERE n IN (SELECT n"+first, topic, limit); err != nil {
		return 0, err
	}
	t.known.rowKnown = false // it may have been the table's last
	return t.exec("DELETE FROM deed_due WHERE (topic_id, due, n) IN (SELECT topic_id, due, n"+first, topic, limit)
}
