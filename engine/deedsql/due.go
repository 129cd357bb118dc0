package deedsql

import (
	"cmp"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// moveEvents is how many delayed events one job gives positions.
const moveEvents = txEvents

// dueValue is a NotBefore as a column. What nanoseconds do not reach is due at their
// end, in 2262.
func dueValue(notBefore time.Time) int64 {
	if notBefore.Unix() >= math.MaxInt64/nanosPerSecond {
		return math.MaxInt64
	}
	return notBefore.UnixNano()
}

// schedule keeps an event until it is due. It is accepted, and has no position yet.
func (t *tx) schedule(at place, h *head, m *driver.Message) error {
	number, err := t.kind(kindOf(m))
	if err != nil {
		return err
	}
	row, err := t.addRow(m, number)
	if err != nil {
		return err
	}
	size := int64(len(m.Data))
	t.dues = append(t.dues, dueEvent{place: at, due: dueValue(m.NotBefore), row: row, bytes: size})
	h.scheduled++
	h.dueBytes += size
	h.dirty = true
	t.delayed[at.topic] = true
	return t.rows.flushFull(t)
}

var insertDues = newBulk("deed_due (topic_id, due, n, partition, accepted_at, bytes)", "")

// flushDues writes what was scheduled, in the table's order, so that each of its pages
// is changed once.
func (t *tx) flushDues() error {
	slices.SortFunc(t.dues, func(a, b dueEvent) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.due, b.due), cmp.Compare(a.row, b.row))
	})
	values := t.rows.args[:0]
	for _, e := range t.dues {
		values = append(values, e.topic, e.due, e.row, int64(e.partition), t.now, e.bytes)
	}
	t.dues, t.rows.args = t.dues[:0], values[:0]
	return insertDues.exec(t.session, values)
}

// nextDue returns when the first delayed event of a topic is due, 0 when there is
// none.
func nextDue(st *statements, topic int64) (due int64, err error) {
	err = st.row("SELECT due FROM deed_due WHERE topic_id = ? ORDER BY due, n LIMIT 1", []any{topic}, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return due, err
}

// dueEvent is a row of deed_due.
type dueEvent struct {
	place
	due   int64
	row   int64 // of deed_log
	bytes int64 // of data
}

// move gives the topic's events that are due their positions, in order of due time
// and then of acceptance, up to a bound. The events themselves stay where they are.
func (t *tx) move(topic int64) error {
	if err := t.flush(); err != nil { // the same transaction may have scheduled some
		return err
	}
	some, err := t.due(topic)
	if err != nil || len(some) == 0 {
		return err
	}
	last := some[len(some)-1]
	// What is of one partition is stored side by side.
	slices.SortStableFunc(some, func(a, b dueEvent) int { return a.partition - b.partition })
	for _, e := range some {
		h, err := t.head(e.place)
		if err != nil {
			return err
		}
		h.position++
		h.stored, h.dirty = max(t.now, h.stored), true
		h.bytes, h.scheduled, h.dueBytes = h.bytes+e.bytes, h.scheduled-1, h.dueBytes-e.bytes
		t.rows.place(e.place, h.position, h.stored, e.row)
	}
	t.stored += len(some)
	t.published[topic] = true
	_, err = t.exec("DELETE FROM deed_due WHERE topic_id = ? AND (due, n) <= (?, ?)", topic, last.due, last.row)
	return err
}

// due reads the next events to move.
func (t *tx) due(topic int64) (some []dueEvent, err error) {
	err = t.session.each("SELECT due, n, partition, bytes FROM deed_due WHERE topic_id = ? AND due <= ? "+
		"ORDER BY due, n LIMIT ? + 0", func(row []sqldriver.Value) bool {
		e := dueEvent{place: place{topic: topic}}
		e.due, _ = row[0].(int64)
		e.row, _ = row[1].(int64)
		partition, _ := row[2].(int64)
		e.partition = int(partition)
		e.bytes, _ = row[3].(int64)
		some = append(some, e)
		return true
	}, topic, t.now, int64(moveEvents))
	return some, err
}

// dropDue removes some delayed events of a topic that was deleted and returns how many.
func (t *tx) dropDue(topic int64, limit int) (removed int64, err error) {
	const first = " FROM deed_due WHERE topic_id = ? ORDER BY due, n LIMIT ?)"
	if _, err := t.exec("DELETE FROM deed_log WHERE n IN (SELECT n"+first, topic, limit); err != nil {
		return 0, err
	}
	t.known.rowKnown = false // it may have been the table's last
	return t.exec("DELETE FROM deed_due WHERE (topic_id, due, n) IN (SELECT topic_id, due, n"+first, topic, limit)
}

// moves makes this connection one of those that move a topic's delayed events when
// they are due. The write transaction keeps them apart.
func (c *Conn) moves(topic int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.moving == nil {
		c.moving = make(map[int64]bool)
		c.done.Go(c.mover)
	}
	c.moving[topic] = true
	c.scheduled.Notify()
}

// mover waits for the next due time of the topics in c.moving, or for an earlier one
// to be scheduled here or by another process.
func (c *Conn) mover() {
	c.watch()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		here, elsewhere := c.scheduled.Wait(), c.anywhere.Wait()
		timer.Reset(c.moveAll())
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-here:
		case <-elsewhere:
		}
	}
}

// moveAll moves a part of every topic that has something due and returns how long
// there is nothing more to do.
func (c *Conn) moveAll() time.Duration {
	rest := time.Hour
	for _, topic := range c.movingTopics() {
		due, err := nextDue(c.read, topic)
		if err == nil && due == 0 {
			continue
		}
		if wait := time.Duration(due - c.dialect.now().UnixNano()); err == nil && wait > 0 {
			rest = min(rest, wait)
			continue
		}
		if err == nil {
			err = c.write(c.ctx, moveEvents, func(t *tx) error { return t.move(topic) })
		}
		switch {
		case err == nil:
			rest = 0
		case errors.Is(err, driver.ErrRefused): // the topic was deleted
			c.mu.Lock()
			delete(c.moving, topic)
			c.mu.Unlock()
		case !errors.Is(err, context.Canceled):
			rest = min(rest, time.Second) // a full disk, say: what is due waits
		}
	}
	return rest
}

func (c *Conn) movingTopics() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	topics := make([]int64, 0, len(c.moving))
	for id := range c.moving {
		topics = append(topics, id)
	}
	return topics
}
