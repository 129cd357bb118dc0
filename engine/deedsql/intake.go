package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
)

// Events of a service's own transactions wait in deed_intake until they are committed and
// whoever holds their partition's lock gives them positions: a publisher before what it
// stores itself, or who calls Sequence. So nothing overtakes what was committed before.

const insertIntake = "INSERT INTO deed_intake " +
	"(topic_id, partition, key, id, source, type, version, time, attributes, data) " +
	"SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM deed_topic WHERE name = ? AND generation = ?"

// PublishIn implements [driver.Intake].
func (c *Conn) PublishIn(ctx context.Context, tx driver.Execer, batches []driver.Batch) error {
	if !c.dialect.shared() {
		return c.fail("publish in a transaction", c.appendIn(tx, batches))
	}
	for i := range batches {
		if err := c.publishIn(ctx, tx, &batches[i]); err != nil {
			return fmt.Errorf("deedsql: publish in a transaction: %w", err)
		}
	}
	return nil
}

func (c *Conn) publishIn(ctx context.Context, tx driver.Execer, b *driver.Batch) error {
	topic, err := c.intakeTopics.get(c.read, b.Topic)
	if err == nil {
		err = topic.accepts(b, c.dialect.limits())
	}
	if err != nil {
		c.intakeTopics.forget(b.Topic)
		return err
	}
	for i := range b.Messages {
		m := &b.Messages[i]
		r, err := tx.ExecContext(ctx, c.dialect.sql(insertIntake), b.Partition, m.Key, m.ID, m.Source, m.Type, m.Version,
			timeValue(m.Time), attributesValue(m), m.Data, topic.name, topic.generation)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			c.intakeTopics.forget(b.Topic)
			gone := fmt.Errorf("%w: topic %s of generation %d", driver.ErrNotFound, topic.name, topic.generation)
			return errors.Join(err, gone)
		}
	}
	return nil
}

// topicNames remembers topics by name, as they were when they were asked for.
type topicNames struct {
	mu    sync.Mutex
	known map[string]*topic
}

func (n *topicNames) get(st *statements, name string) (*topic, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.known[name]; t != nil {
		return t, nil
	}
	t, err := readTopic(st, name)
	if err != nil {
		return nil, err
	}
	if n.known == nil {
		n.known = make(map[string]*topic)
	}
	n.known[name] = t
	return t, nil
}

func (n *topicNames) forget(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, name)
}

// hold makes sure that the transaction holds what storing on a partition takes.
func (t *tx) hold(topic *topic, partition int) error {
	locks := []lock{partitionLock(topic.name, partition), topicLock(topic.name)}
	if !topic.whole() {
		locks = locks[:1]
	}
	return t.lock(locks...)
}

// selectIntakes finds the partitions of a topic that have events in the intake.
const selectIntakes = "SELECT p.partition FROM deed_partition p WHERE p.topic_id = ? AND EXISTS " +
	"(SELECT 1 FROM deed_intake i WHERE i.topic_id = p.topic_id AND i.partition = p.partition)"

// intakes returns the partitions of a topic that have events in the intake, as of some time
// after the transaction's locks were taken.
func (t *tx) intakes(topic int64) (map[int]bool, error) {
	if found, ok := t.known.intakes[topic]; ok {
		return found, nil
	}
	found := make(map[int]bool)
	err := t.each(selectIntakes, []any{topic}, func(rows *sql.Rows) error {
		var partition int
		err := rows.Scan(&partition)
		found[partition] = true
		return err
	})
	if err == nil {
		t.known.intakes[topic] = found
	}
	return found, err
}

// sequenceFirst gives positions to all that the intake has of a partition. The transaction
// holds it.
func (t *tx) sequenceFirst(topic *topic, partition int) error {
	if !t.dialect.shared() || seeded("overtake") {
		return nil
	}
	waiting, err := t.intakes(topic.id)
	if err != nil || !waiting[partition] {
		return err
	}
	after := int64(0)
	for more := true; more; {
		if after, more, err = t.sequence(topic, partition, after); err != nil {
			return err
		}
	}
	delete(waiting, partition)
	return nil
}

const (
	selectIntake = "SELECT n, key, id, source, type, version, time, attributes, data FROM deed_intake " +
		"WHERE topic_id = ? AND partition = ? AND n > ? ORDER BY n LIMIT ?"
	intakeEvents = 1000 // of a partition, at once
	intakePlaces = 64   // partitions that one transaction sequences
)

var deleteIntake = "DELETE FROM deed_intake WHERE topic_id = ? AND partition = ? AND n IN (" + places(idsAtOnce) + ")"

// sequence gives positions to the next events that the intake has of a partition, those
// after a number, and returns the number of the last one.
func (t *tx) sequence(topic *topic, partition int, after int64) (last int64, more bool, err error) {
	var messages []driver.Message
	var numbers []int64
	err = t.each(selectIntake, []any{topic.id, partition, after, intakeEvents}, func(rows *sql.Rows) error {
		n, m, err := scanIntake(rows)
		numbers, messages = append(numbers, n), append(messages, m)
		return err
	})
	if err != nil || len(messages) == 0 {
		return after, false, err
	}
	h, err := t.head(place{topic.id, partition})
	if err != nil {
		return 0, false, err
	}
	if err := t.makeRoom(topic, messages); err != nil {
		return 0, false, err
	}
	if _, err := t.store(topic, partition, h, messages); err != nil {
		return 0, false, err
	}
	for some := range slices.Chunk(numbers, idsAtOnce) {
		if _, err := t.exec(deleteIntake, append([]any{topic.id, partition}, padded(some)...)...); err != nil {
			return 0, false, err
		}
	}
	return numbers[len(numbers)-1], len(messages) == intakeEvents, nil
}

func scanIntake(rows *sql.Rows) (n int64, m driver.Message, err error) {
	var when any
	var attributes sql.NullString
	err = rows.Scan(&n, &m.Key, &m.ID, &m.Source, &m.Type, &m.Version, &when, &attributes, &m.Data)
	if err != nil {
		return 0, m, err
	}
	if m.Time, err = parseTime(when); err != nil {
		return 0, m, err
	}
	return n, m, parseAttributes(&m, attributes.String)
}

// selectIntakePlaces finds partitions of all topics that have events in the intake.
const selectIntakePlaces = "SELECT t.name, p.partition FROM deed_topic t JOIN deed_partition p ON p.topic_id = t.id " +
	"WHERE EXISTS (SELECT 1 FROM deed_intake i WHERE i.topic_id = p.topic_id AND i.partition = p.partition) LIMIT ?"

// Sequence implements [driver.Intake].
func (c *Conn) Sequence(ctx context.Context) (more bool, err error) {
	if !c.dialect.shared() {
		return false, nil
	}
	var found []lock
	err = c.read.row("SELECT EXISTS (SELECT 1 FROM deed_intake)", nil, &more)
	if err == nil && more { // as a rule there is nothing, and that is found fast
		err = c.read.each(selectIntakePlaces, []any{intakePlaces}, func(rows *sql.Rows) error {
			var name string
			var partition int
			err := rows.Scan(&name, &partition)
			found = append(found, partitionLock(name, partition))
			return err
		})
	}
	if err != nil || len(found) == 0 {
		return false, c.fail("sequence", err)
	}
	err = c.write(ctx, txEvents, func(t *tx) error {
		more = len(found) == intakePlaces
		var full error
		for _, l := range found {
			left, err := t.sequenceOf(l.name, l.partition)
			if errors.Is(err, driver.ErrFull) {
				full = errors.Join(full, err)
			} else if err != nil && !errors.Is(err, driver.ErrNotFound) { // deleted meanwhile
				return err
			}
			more = more || left
		}
		return full
	}, found...)
	return more, c.fail("sequence", err)
}

// sequenceOf gives positions to some of what the intake has of a partition.
func (t *tx) sequenceOf(name string, partition int) (more bool, err error) {
	topic, err := t.topic(name)
	if err != nil {
		return false, err
	}
	if err := t.hold(topic, partition); err != nil {
		return false, err
	}
	_, more, err = t.sequence(topic, partition, 0)
	return more, err
}

// Unsequenced implements [driver.Intake].
func (c *Conn) Unsequenced(context.Context) (n int, err error) {
	if c.dialect.shared() {
		err = c.read.row("SELECT count(*) FROM deed_intake", nil, &n)
	}
	return n, c.fail("count what has no position", err)
}
