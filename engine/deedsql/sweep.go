package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	producerLife = 7 * 24 * time.Hour // a producer that was silent for so long starts anew
	memberLife   = time.Minute        // a lapsed member may still come back to its row
)

// sweeper is the writer's part in keeping the database small. A round goes through
// the topics a step at a time; each step is the last job of a transaction that the
// writer makes anyhow, or of one of its own while nobody else writes.
type sweeper struct {
	never  bool // another writer does it
	active bool
	last   time.Time // when the last round began
	after  int64     // the topics up to this id are done, in this round
	next   int64     // the same once the step is stored, -1 after the last topic
}

// job returns the next step, nil while there is nothing to do.
func (s *sweeper) job() *job {
	if s.never || !s.active && time.Since(s.last) < sweepGap {
		return nil
	}
	if !s.active {
		s.active, s.last, s.after = true, time.Now(), 0
	}
	return &job{run: s.step, done: make(chan struct{})}
}

// done says what became of a step. After a failure the next round tries again.
func (s *sweeper) done(err error) {
	s.active = err == nil && s.next >= 0
	s.after = s.next
}

// step sweeps the next topic, or part of it. It removes somewhat more than the
// transaction adds, so that even a writer that never rests keeps up.
func (s *sweeper) step(t *tx) error {
	if mine, err := t.try(lock{kind: lockSweep}); err != nil || !mine {
		s.next = -1 // another process is at it
		return err
	}
	if s.after == 0 {
		if err := sweep(t); err != nil {
			return err
		}
	}
	topic := &topic{}
	err := t.row("SELECT "+topicColumns+" FROM deed_topic WHERE id > ? ORDER BY id LIMIT 1",
		[]any{s.after}, topic.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		s.next = -1
		return nil
	}
	if err != nil {
		return err
	}
	s.next = topic.id
	if mine, err := t.try(topicLock(topic.name)); err != nil || !mine {
		return err
	}
	limit := max(sweepRows, t.stored+t.stored/4)
	n, err := t.retain(topic, limit)
	if n == limit {
		s.next-- // there is more
	}
	return err
}

// sweep removes a bounded part of what nobody needs any more, topics' events apart.
func sweep(t *tx) error {
	_, err := t.exec("DELETE FROM deed_producer WHERE (producer, topic_id, partition) IN "+
		"(SELECT producer, topic_id, partition FROM deed_producer WHERE at < ? LIMIT ?) AND at < ?",
		t.now-int64(producerLife), sweepRows, t.now-int64(producerLife))
	if err != nil {
		return err
	}
	var silent []string
	err = t.each("SELECT member FROM deed_member WHERE expires < ? LIMIT ?",
		[]any{t.now - int64(memberLife), sweepRows}, func(rows *sql.Rows) error {
			var member string
			err := rows.Scan(&member)
			silent = append(silent, member)
			return err
		})
	if err != nil {
		return err
	}
	for _, member := range silent {
		if err := t.removeMember(member); err != nil {
			return err
		}
	}
	if err := sweepWindows(t); err != nil {
		return err
	}
	_, err = sweepSome(t)
	return err
}

// sweepWindows removes rows of eras that no window reaches back to.
func sweepWindows(t *tx) error {
	_, err := t.exec("DELETE FROM deed_window WHERE (topic_id, era, source, id) IN "+
		"(SELECT w.topic_id, w.era, w.source, w.id "+
		"FROM deed_topic p JOIN deed_window w ON w.topic_id = p.id AND w.era < ? / p.dedupe - 1 WHERE p.dedupe > 0 LIMIT ?)",
		t.now, sweepRows)
	return err
}

// sweepDropped removes the rows of deleted topics and groups, a few at a time.
func (c *Conn) sweepDropped(ctx context.Context) error {
	for more := true; more; {
		err := c.write(ctx, txEvents/8, func(t *tx) (err error) {
			more, err = sweepSome(t)
			return err
		}, lock{kind: lockSweep})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropQueries remove rows of a dropped topic or group, each at most a number. A topic's
// events go first.
var dropQueries = map[string][]string{
	"topic": {
		"DELETE FROM deed_window WHERE (topic_id, era, source, id) IN " +
			"(SELECT topic_id, era, source, id FROM deed_window WHERE topic_id = ? LIMIT ?)",
		"DELETE FROM deed_producer WHERE (producer, topic_id, partition) IN " +
			"(SELECT producer, topic_id, partition FROM deed_producer WHERE topic_id = ? LIMIT ?)",
		"DELETE FROM deed_stream WHERE (topic_id, key, version) IN " +
			"(SELECT topic_id, key, version FROM deed_stream WHERE topic_id = ? LIMIT ?)",
	},
	"group": {
		"DELETE FROM deed_letter WHERE letter IN (SELECT letter FROM deed_letter WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_mark WHERE (group_id, partition, position) IN " +
			"(SELECT group_id, partition, position FROM deed_mark WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_handled WHERE (group_id, partition, position, run) IN " +
			"(SELECT group_id, partition, position, run FROM deed_handled WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_claim WHERE (group_id, partition) IN " +
			"(SELECT group_id, partition FROM deed_claim WHERE group_id = ? LIMIT ?)",
		"DELETE FROM deed_seat WHERE seat IN (SELECT seat FROM deed_seat WHERE group_id = ? LIMIT ?)",
	},
}

const dropIntake = "DELETE FROM deed_intake WHERE (topic_id, partition, n) IN " +
	"(SELECT topic_id, partition, n FROM deed_intake WHERE topic_id = ? LIMIT ?)"

// sweepSome removes some rows of one dropped topic or group and reports whether
// there are more.
func sweepSome(t *tx) (more bool, err error) {
	var kind string
	var id int64
	err = t.row("SELECT kind, id FROM deed_dropped LIMIT 1", nil, &kind, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if kind == "topic" {
		limit := sweepRows
		if t.dialect.shared() {
			limit = txEvents // nobody waits for it
			if n, err := t.exec(dropIntake, id, limit); err != nil || n == int64(limit) {
				return true, err
			}
		}
		if n, err := t.tables.drop(t, id, limit); err != nil || n == int64(limit) {
			return true, err
		}
		if n, err := t.tables.dropDues(t, id, sweepRows); err != nil || n == sweepRows {
			return true, err
		}
	}
	for _, query := range dropQueries[kind] {
		n, err := t.exec(query, id, sweepRows)
		if err != nil || n == sweepRows {
			return true, err
		}
	}
	_, err = t.exec("DELETE FROM deed_dropped WHERE kind = ? AND id = ?", kind, id)
	return true, err
}
