package deedsql

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// group returns the id of a group, which it makes when there is none: it starts
// everywhere at once where from says.
func (t *tx) group(topic *topic, name string, from driver.From) (id int64, err error) {
	const find = "SELECT id FROM deed_group WHERE name = ? AND topic_id = ?"
	err = t.row(find, []any{name, topic.id}, &id)
	if err == nil {
		return id, t.lock(groupLock(id))
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	if err := t.lock(topicLock(topic.name)); err != nil {
		return 0, err
	}
	starts, err := t.starts(topic, from)
	if err != nil {
		return 0, err
	}
	_, err = t.exec("INSERT INTO deed_group (name, topic_id, created, last_seen) VALUES (?, ?, ?, ?)",
		name, topic.id, t.now, t.now)
	if err != nil {
		return 0, err
	}
	if err := t.row(find, []any{name, topic.id}, &id); err != nil {
		return 0, err
	}
	for p, at := range starts {
		_, err := t.exec("INSERT INTO deed_claim (group_id, partition, position, epoch) "+
			"SELECT ?, ?, ?, floor FROM deed_epoch",
			id, p, at)
		if err != nil {
			return 0, err
		}
	}
	return id, nil
}

// starts returns the position of each partition that a group starts after.
func (t *tx) starts(topic *topic, from driver.From) ([]int64, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	for p := range from.Cursor {
		if p < 0 || p >= topic.settings.Partitions {
			return nil, fmt.Errorf("%w: the cursor names partition %d, topic %s has %d",
				driver.ErrRefused, p, topic.name, topic.settings.Partitions)
		}
	}
	starts := make([]int64, topic.settings.Partitions)
	for p := range starts {
		var err error
		if starts[p], err = t.start(topic, p, from); err != nil {
			return nil, err
		}
	}
	return starts, nil
}

// start returns the position that a group starts after: none of what is removed.
func (t *tx) start(topic *topic, partition int, from driver.From) (int64, error) {
	h, err := t.head(place{topic.id, partition})
	if err != nil {
		return 0, err
	}
	switch {
	case from.End:
		return h.position, nil
	case !from.Time.IsZero():
		return seek(t.statements, topic.id, partition, h.removed, h.position, from.Time)
	case from.Cursor[partition] != "":
		at, err := driverkit.ParsePosition(from.Cursor[partition])
		if err == nil && at > h.position && !topic.foreign() {
			err = fmt.Errorf("%w: partition %d ends at %d, the group would start after %d",
				driver.ErrRefused, partition, h.position, at)
		}
		return max(at, h.removed), err
	}
	return h.removed, nil
}
