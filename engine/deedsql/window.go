package deedsql

import (
	sqldriver "database/sql/driver"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// identity is what the id window knows an event by.
type identity struct{ source, id string }

// remember puts messages into the topic's id window and returns which of them were
// there before, or stand in ms before.
func (t *tx) remember(topic *topic, ms []driver.Message) (known []bool, err error) {
	window := int64(topic.settings.Dedupe)
	era := t.now / window
	if known, err = t.inWindow(topic.id, era, t.now-window, ms); err != nil {
		return nil, err
	}
	fresh := make(map[identity]bool, len(ms))
	values := make([]sqldriver.Value, 0, intoWindow.columns*len(ms))
	for i := range ms {
		id := identity{ms[i].Source, ms[i].ID}
		if known[i] = known[i] || fresh[id]; !known[i] {
			fresh[id] = true
			values = append(values, topic.id, era, id.source, id.id, t.now)
		}
	}
	return known, intoWindow.exec(t.session, values)
}

// inWindow returns which messages were stored after a time. Only the eras that the
// window can reach back to are looked at; one ahead too, in case the clock was put
// back.
func (t *tx) inWindow(topic, era, after int64, ms []driver.Message) ([]bool, error) {
	known := make([]bool, len(ms))
	values := make([]sqldriver.Value, 0, 5+2*min(len(ms), bulkRows))
	for first := 0; first < len(ms); first += bulkRows {
		some := ms[first:min(first+bulkRows, len(ms))]
		values = append(values[:0], topic, era-1, era, era+1, after)
		for i := range some {
			values = append(values, some[i].Source, some[i].ID)
		}
		err := t.session.each(selectWindow[len(some)], func(row []sqldriver.Value) bool {
			i, _ := row[0].(int64)
			known[first+int(i)] = true
			return true
		}, values...)
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

var (
	intoWindow = newBulk("deed_window (topic_id, era, source, id, stored_at)",
		"ON CONFLICT (topic_id, era, source, id) DO UPDATE SET stored_at = excluded.stored_at")
	selectWindow = windowQueries()
)

// windowQueries returns the query for each number of events. CROSS keeps the order of
// the loops: each event is looked up.
func windowQueries() (queries [bulkRows + 1]string) {
	for n := 1; n <= bulkRows; n++ {
		queries[n] = "SELECT v.column1 FROM (VALUES (0, ?6, ?7)"
		for i := 1; i < n; i++ {
			queries[n] += fmt.Sprintf(", (%d, ?%d, ?%d)", i, 6+2*i, 7+2*i)
		}
		queries[n] += ") v CROSS JOIN deed_window w WHERE w.topic_id = ?1 AND w.era IN (?2, ?3, ?4) " +
			"AND w.source = v.column2 AND w.id = v.column3 AND w.stored_at > ?5"
	}
	return queries
}
