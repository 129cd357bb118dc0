package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

// moveEvents is how many delayed events one job moves at most.
const moveEvents = txEvents

// dues is how a database keeps events that wait for their time.
type dues interface {
	// schedule keeps an event of a kind. It has no position yet.
	schedule(t *tx, at place, m *driver.Message, kind int64) error
	// writeDues writes what schedule held back.
	writeDues(t *tx) error
	// due reads the next events to move, in order of due time and then of acceptance.
	due(t *tx, topic int64) ([]dueEvent, error)
	// give stores one of them at its position.
	give(t *tx, e *dueEvent, position, stored int64) error
	// given removes those that due returned.
	given(t *tx, topic int64, some []dueEvent) error
	// dropDues removes some events of a topic that was deleted and returns how many.
	dropDues(t *tx, topic int64, limit int) (removed int64, err error)
}

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
	h.scheduled++
	h.dueBytes += int64(len(m.Data))
	h.dirty = true
	t.delayed[at.topic] = true
	return t.tables.schedule(t, at, m, number)
}

// nextDue returns when the first delayed event of a topic is due, 0 when there is
// none.
func nextDue(st *statements, topic int64) (due int64, err error) {
	err = st.row("SELECT due FROM deed_due WHERE topic_id = ? ORDER BY due LIMIT 1", []any{topic}, &due)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return due, err
}

// dueEvent is a row of deed_due.
type dueEvent struct {
	place
	due      int64
	accepted int64 // the row of deed_log, where it is there already
	bytes    int64 // of data
	meta     string
	data     []byte
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
	some, err := t.tables.due(t, topic)
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
		h, err := t.head(e.place)
		if err != nil {
			return err
		}
		h.position++
		h.stored, h.dirty = max(t.now, h.stored), true
		h.bytes, h.scheduled, h.dueBytes = h.bytes+e.bytes, h.scheduled-1, h.dueBytes-e.bytes
		if err := t.tables.give(t, e, h.position, h.stored); err != nil {
			return err
		}
	}
	t.stored += len(some)
	t.published[topic] = true
	return t.tables.given(t, topic, some)
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
