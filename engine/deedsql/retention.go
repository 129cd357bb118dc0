package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

// Sweep implements [driver.Sweeper].
func (c *Conn) Sweep(ctx context.Context, topic string) (removed int64, err error) {
	for more := true; more; {
		n := 0
		err := c.write(ctx, sweepRows, func(t *tx) error {
			found, err := t.topic(topic)
			if err != nil {
				return err
			}
			n, err = t.retain(found, sweepRows)
			return err
		}, topicLock(topic))
		if err != nil {
			return removed, c.fail("sweep "+topic, err)
		}
		removed += int64(n)
		more = n == sweepRows
	}
	return removed, nil
}

// retain removes at most limit events that the topic's settings no longer ask for
// and returns how many went.
func (t *tx) retain(topic *topic, limit int) (removed int, err error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	slowest, err := t.slowest(topic.id)
	if err != nil {
		return 0, err
	}
	for p := 0; p < topic.settings.Partitions && removed < limit; p++ {
		h, err := t.head(place{topic.id, p})
		if err != nil {
			return removed, err
		}
		if h.position-h.removed < 2 {
			continue // the last event stays, by which the log is known
		}
		handled, held := slowest[p]
		if !held || seeded("retention") {
			handled = h.position
		}
		n, err := t.trim(topic, p, h, handled, limit-removed)
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// slowest returns the position of each partition's slowest group, for those that
// have one.
func (t *tx) slowest(topic int64) (map[int]int64, error) {
	positions := make(map[int]int64)
	err := t.each("SELECT c.partition, min(c.position) FROM deed_group g JOIN deed_claim c ON c.group_id = g.id "+
		"WHERE g.topic_id = ? GROUP BY c.partition", []any{topic}, func(rows *sql.Rows) error {
		var p int
		var at int64
		err := rows.Scan(&p, &at)
		positions[p] = at
		return err
	})
	return positions, err
}

// trim removes a partition's first events: those older than keep that every group
// has handled, and those older than hold in any case.
func (t *tx) trim(topic *topic, partition int, h *head, handled int64, limit int) (removed int, err error) {
	kept := t.now - int64(topic.settings.Keep)
	given := kept // up for removal even when a group waits for it
	if topic.settings.Hold > 0 {
		given = t.now - int64(max(topic.settings.Hold, topic.settings.Keep))
	}
	at, upTo, bytes := place{topic.id, partition}, h.removed, int64(0)
	err = t.tables.front(t, at, limit, func(position, stored, size int64) bool {
		waits := position > handled && (topic.settings.Hold == 0 || stored > given)
		if position >= h.position || stored > kept || waits {
			return false
		}
		upTo, bytes, removed = position, bytes+size, removed+1
		return removed < limit
	})
	if err != nil || removed == 0 {
		return 0, err
	}
	err = t.tables.cut(t, at, upTo)
	if err == nil && upTo > handled {
		err = t.drop(topic.id, partition, upTo)
	}
	h.removed, h.bytes, h.gone, h.dirty = upTo, h.bytes-bytes, h.gone+bytes, true
	return removed, err
}

// drop moves groups past events that hold removed before they were handled, and
// counts these. What is parked or dead was copied, and is not lost.
func (t *tx) drop(topic int64, partition int, upTo int64) error {
	// MySQL sets columns one after the other: position has to be the last.
	_, err := t.exec("UPDATE deed_claim SET dropped = dropped + ? - position - "+
		"(SELECT count(*) FROM deed_letter l JOIN deed_group g ON g.id = l.group_id WHERE l.group_id = deed_claim.group_id "+
		"AND l.partition = deed_claim.partition AND l.position > deed_claim.position AND l.position <= ? "+
		"AND l.run = g.run), position = ? "+
		"WHERE group_id IN (SELECT id FROM deed_group WHERE topic_id = ?) AND partition = ? AND position < ?",
		upTo, upTo, upTo, topic, partition, upTo)
	return err
}

// makeRoom refuses messages that a topic at its bound has no room for, once all that
// may go is gone.
func (t *tx) makeRoom(topic *topic, messages []driver.Message) error {
	if topic.settings.MaxBytes == 0 || len(messages) == 0 {
		return nil
	}
	size := int64(0)
	for i := range messages {
		size += int64(len(messages[i].Data))
	}
	for range roomSteps {
		used, err := t.used(topic)
		if err != nil || used == 0 || used+size <= topic.settings.MaxBytes {
			return err
		}
		n := 0
		if !t.swept[topic.id] {
			if n, err = t.retain(topic, sweepRows); err != nil {
				return err
			}
		}
		if n == 0 {
			t.swept[topic.id] = true
			return t.full(topic, used, size)
		}
	}
	return fmt.Errorf("%w: topic %s is far above %d bytes, old events are being removed (try again)",
		driver.ErrFull, topic.name, topic.settings.MaxBytes)
}

// roomSteps bounds how much of a topic one batch removes to make room for itself.
const roomSteps = 8

// used returns the bytes of data that a topic stores, delayed events' included.
func (t *tx) used(topic *topic) (n int64, err error) {
	for p := range topic.settings.Partitions {
		h, err := t.head(place{topic.id, p})
		if err != nil {
			return 0, err
		}
		n += h.bytes + h.dueBytes
	}
	return n, nil
}

// full says who holds the events of a topic at its bound.
func (t *tx) full(topic *topic, used, size int64) error {
	if err := t.flush(); err != nil {
		return err
	}
	what := fmt.Sprintf("topic %s stores %d bytes of at most %d, there is no room for %d more",
		topic.name, used, topic.settings.MaxBytes, size)
	var group string
	var seen, lag int64
	err := t.row("SELECT g.name, g.last_seen, sum(h.position - c.position) AS lag FROM deed_group g "+
		"JOIN deed_claim c ON c.group_id = g.id JOIN deed_head h ON h.topic_id = g.topic_id AND h.partition = c.partition "+
		"WHERE g.topic_id = ? GROUP BY g.id ORDER BY lag DESC, g.name LIMIT 1", []any{topic.id}, &group, &seen, &lag)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if lag == 0 {
		return fmt.Errorf("%w: %s, and all of it is younger than keep, %v (shorten keep or raise the bound)",
			driver.ErrFull, what, topic.settings.Keep)
	}
	return fmt.Errorf("%w: %s; its slowest group is %s, %d events behind and last seen %s "+
		"(start or delete the group, set hold, or raise the bound; nothing younger than keep, %v, goes)",
		driver.ErrFull, what, group, lag, nanoTime(seen).Format(time.RFC3339), topic.settings.Keep)
}
