package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

const (
	moveEvents = 2048    // delayed events that one job moves to the log
	moveBytes  = 8 << 20 // of data, after which it takes no further one
)

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
	_, err = t.session.exec("INSERT INTO deed_due (topic_id, due, partition, accepted_at, meta, data) "+
		"VALUES (?, ?, ?, ?, ?, ?)",
		at.topic, dueValue(m.NotBefore), int64(at.partition), t.now, string(appendMeta(nil, m, number)), m.Data)
	h.scheduled++
	h.dueBytes += int64(len(m.Data))
	h.dirty = true
	t.delayed[at.topic] = true
	return err
}

// nextDue returns when the first delayed event of a topic is due, 0 when there is
// none.
func nextDue(st *statements, topic int64) (due int64, err error) {
	err = st.row("SELECT due FROM deed_due WHERE topic_id = ? ORDER BY due, accepted LIMIT 1", []any{topic}, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return due, err
}

// dueEvent is a row of deed_due.
type dueEvent struct {
	accepted, due int64
	partition     int
	meta          string
	data          []byte
}

// move gives the topic's events that are due their positions, in order of due time
// and then of acceptance, up to a bound.
func (t *tx) move(topic int64) error {
	var name string
	if err := t.row("SELECT name FROM deed_topic WHERE id = ?", []any{topic}, &name); errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: the topic was deleted", driver.ErrRefused)
	} else if err != nil {
		return err
	}
	some, err := t.due(topic)
	if err != nil || len(some) == 0 {
		return err
	}
	if err := t.lock(duePartitions(name, some)...); err != nil {
		return err
	}
	// What is of one partition is stored side by side.
	slices.SortStableFunc(some, func(a, b dueEvent) int { return a.partition - b.partition })
	for i := range some {
		e := &some[i]
		at := place{topic, e.partition}
		h, err := t.head(at)
		if err != nil {
			return err
		}
		size := int64(len(e.data))
		h.position++
		h.stored, h.dirty = max(t.now, h.stored), true
		h.bytes, h.scheduled, h.dueBytes = h.bytes+size, h.scheduled-1, h.dueBytes-size
		if err := t.addMeta(at, h.position, h.stored, e.meta, e.data); err != nil {
			return err
		}
	}
	t.stored += len(some)
	t.published[topic] = true
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

// duePartitions returns the locks that moving events takes.
func duePartitions(topic string, some []dueEvent) (locks []lock) {
	for i := range some {
		if l := partitionLock(topic, some[i].partition); !slices.Contains(locks, l) {
			locks = append(locks, l)
		}
	}
	return locks
}

// due reads the next events to move.
func (t *tx) due(topic int64) (some []dueEvent, err error) {
	bytes := 0
	err = t.session.each("SELECT accepted, due, partition, meta, data FROM deed_due WHERE topic_id = ? AND due <= ? "+
		"ORDER BY due, accepted LIMIT ? + 0", func(row []sqldriver.Value) bool {
		var e dueEvent
		e.accepted, _ = row[0].(int64)
		e.due, _ = row[1].(int64)
		partition, _ := row[2].(int64)
		e.partition = int(partition)
		e.meta, _ = row[3].(string)
		e.data, _ = row[4].([]byte)
		some = append(some, e)
		bytes += len(e.data)
		return bytes < moveBytes
	}, topic, t.now, int64(moveEvents))
	return some, err
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
