package deedsql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// maxPartitions keeps a mistyped number from making a million rows.
const maxPartitions = 4096

// topic is a row of deed_topic.
type topic struct {
	id          int64
	name        string
	settings    driver.TopicSettings
	generation  int
	incarnation string
	created     int64
}

// foreign reports whether the events are in another engine, that this one keeps the state of.
func (t *topic) foreign() bool { return strings.Contains(t.name, "/") }

const topicColumns = "id, name, partitions, partition_by, dedupe, keep, hold, max_bytes, streams, generation, " +
	"incarnation, created"

func (t *topic) dest() []any {
	return []any{
		&t.id, &t.name, &t.settings.Partitions, &t.settings.PartitionBy, &t.settings.Dedupe, &t.settings.Keep,
		&t.settings.Hold, &t.settings.MaxBytes, flag{&t.settings.Streams}, &t.generation, &t.incarnation, &t.created,
	}
}

// flag scans a column of 0 and 1.
type flag struct{ to *bool }

// Scan implements sql.Scanner.
func (f flag) Scan(value any) error {
	n, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a flag is %T, want a number", value)
	}
	*f.to = n != 0
	return nil
}

// describe tells about a topic and what it stores.
func describe(st *statements, t *topic) (driver.TopicInfo, error) {
	info := driver.TopicInfo{
		Name: t.name, TopicSettings: t.settings, Generation: t.generation, Incarnation: t.incarnation,
		Created: nanoTime(t.created),
	}
	err := st.row("SELECT coalesce(sum(position - removed), 0), coalesce(sum(bytes), 0), coalesce(sum(scheduled), 0) "+
		"FROM deed_head WHERE topic_id = ?", []any{t.id}, &info.Events, &info.Bytes, &info.Scheduled)
	if err != nil || info.Scheduled == 0 {
		return info, err
	}
	due, err := nextDue(st, t.id)
	info.NextDue = nanoTime(due)
	return info, err
}

// readTopic returns a topic by name, or ErrNotFound.
func readTopic(st *statements, name string) (*topic, error) {
	t := &topic{}
	err := st.row("SELECT "+topicColumns+" FROM deed_topic WHERE name = ?", []any{name}, t.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: topic %s", driver.ErrNotFound, name)
	}
	return t, err
}

// CreateTopic implements [driver.Topics].
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	if info, err := c.Topic(ctx, name); err == nil || !errors.Is(err, driver.ErrNotFound) {
		return info, err // the usual case takes no lock
	}
	s, err := c.complete(name, s)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	incarnation := rand.Text()
	err = c.write(ctx, 0, func(t *tx) error {
		if _, err := t.topic(name); err == nil || !errors.Is(err, driver.ErrNotFound) {
			return err
		}
		return t.createTopic(name, s, incarnation)
	}, topicLock(name))
	if err != nil {
		return driver.TopicInfo{}, fmt.Errorf("deedsql: create topic %s: %w", name, err)
	}
	return c.Topic(ctx, name)
}

func (t *tx) createTopic(name string, s driver.TopicSettings, incarnation string) error {
	_, err := t.exec("INSERT INTO deed_topic (name, partitions, partition_by, dedupe, keep, hold, max_bytes, "+
		"streams, generation, incarnation, created) "+
		"SELECT ?, ?, ?, ?, ?, ?, ?, ?, 1 + coalesce((SELECT generation FROM deed_generation WHERE name = ?), 0), ?, ?",
		name, s.Partitions, s.PartitionBy, int64(s.Dedupe), int64(s.Keep), int64(s.Hold), s.MaxBytes,
		s.Streams, name, incarnation, t.now)
	if err != nil {
		return err
	}
	made, err := t.topic(name)
	if err != nil {
		return err
	}
	return t.tables.addHeads(t, made.id, s.Partitions)
}

// complete fills in defaults and refuses what cannot be.
func (c *Conn) complete(name string, s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.Features())
	switch {
	case err != nil:
	case name == "":
		err = fmt.Errorf("%w: it needs a name", driver.ErrRefused)
	case s.Partitions > maxPartitions:
		err = fmt.Errorf("%w: %d partitions (want 1 to %d)", driver.ErrRefused, s.Partitions, maxPartitions)
	case s.Dedupe > 0 && s.Dedupe < time.Millisecond:
		err = fmt.Errorf("%w: an id window of %v (want 1ms or more)", driver.ErrRefused, s.Dedupe)
	}
	if err != nil {
		err = fmt.Errorf("deedsql: topic %q: %w", name, err)
	}
	return s, err
}

// Topic implements [driver.Topics].
func (c *Conn) Topic(_ context.Context, name string) (driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return driver.TopicInfo{}, err
	}
	t, err := readTopic(c.read, name)
	if err != nil {
		return driver.TopicInfo{}, c.fail("topic "+name, err)
	}
	info, err := describe(c.read, t)
	return info, c.fail("topic "+name, err)
}

// Topics implements [driver.Topics].
func (c *Conn) Topics(context.Context) ([]driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	var topics []*topic
	err := c.read.each("SELECT "+topicColumns+" FROM deed_topic ORDER BY name", nil, func(rows *sql.Rows) error {
		t := &topic{}
		topics = append(topics, t)
		return rows.Scan(t.dest()...)
	})
	if err != nil {
		return nil, c.fail("topics", err)
	}
	infos := make([]driver.TopicInfo, len(topics))
	for i, t := range topics {
		if infos[i], err = describe(c.read, t); err != nil {
			return nil, c.fail("topics", err)
		}
	}
	return infos, nil
}

// SetTopic implements [driver.Topics].
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	s, err := c.complete(name, s)
	if err != nil {
		return err
	}
	err = c.write(ctx, 0, func(t *tx) error {
		old, err := t.topic(name)
		if err != nil {
			return err
		}
		if err := old.settings.Alter(s); err != nil {
			return err
		}
		if err := t.lock(partitionLocks(old)...); err != nil {
			return err
		}
		if err := t.rewindow(old, s.Dedupe); err != nil {
			return err
		}
		_, err = t.exec("UPDATE deed_topic SET dedupe = ?, keep = ?, hold = ?, max_bytes = ? WHERE id = ?",
			int64(s.Dedupe), int64(s.Keep), int64(s.Hold), s.MaxBytes, old.id)
		delete(t.topics, name) // later jobs of the transaction read it anew
		return err
	}, topicLock(name))
	return c.fail("set topic "+name, err)
}

// rewindow counts the eras of the id window anew when its length changes.
func (t *tx) rewindow(old *topic, window time.Duration) error {
	if old.settings.Dedupe == window || old.settings.Dedupe == 0 {
		return nil
	}
	// Within one window a (source, id) is there once, so what is left has no doubles.
	upTo := t.now - int64(old.settings.Dedupe)
	if window == 0 {
		upTo = math.MaxInt64
	}
	_, err := t.exec("DELETE FROM deed_window WHERE topic_id = ? AND stored_at <= ?", old.id, upTo)
	if err != nil || window == 0 {
		return err
	}
	_, err = t.exec("UPDATE deed_window SET era = stored_at / ? WHERE topic_id = ?", int64(window), old.id)
	return err
}

// DeleteTopic implements [driver.Topics]. The topic is gone with the first
// transaction; its rows follow in small ones, which others' writes pass between.
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	err := c.write(ctx, 0, func(t *tx) error {
		old, err := t.topic(name)
		if err != nil {
			return err
		}
		if err := t.lock(partitionLocks(old)...); err != nil {
			return err
		}
		if err := t.lockGroups(old.id); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		t.forget(name, old.id)
		t.groups = true
		if err := t.raiseEpochs("g.topic_id = ?", old.id); err != nil {
			return err
		}
		if err := t.tables.dropHeads(t, old.id); err != nil {
			return err
		}
		for _, query := range []string{
			"INSERT INTO deed_dropped (kind, id) SELECT 'group', id FROM deed_group WHERE topic_id = ?",
			"INSERT INTO deed_dropped (kind, id) VALUES ('topic', ?)",
			"DELETE FROM deed_group WHERE topic_id = ?",
			"INSERT INTO deed_generation (name, generation) SELECT name, generation FROM deed_topic WHERE id = ? " +
				"ON CONFLICT (name) DO UPDATE SET generation = excluded.generation",
			"DELETE FROM deed_topic WHERE id = ?",
		} {
			if _, err := t.exec(query, old.id); err != nil {
				return err
			}
		}
		return nil
	}, topicLock(name))
	if err != nil {
		return c.fail("delete topic "+name, err)
	}
	return c.fail("delete topic "+name, c.sweepDropped(ctx))
}

// lockGroups locks a topic's groups.
func (t *tx) lockGroups(topic int64) error {
	var locks []lock
	err := t.each("SELECT id FROM deed_group WHERE topic_id = ?", []any{topic}, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		locks = append(locks, groupLock(id))
		return err
	})
	if err != nil {
		return err
	}
	return t.lock(locks...)
}

// fail says what failed; nil stays nil.
func (c *Conn) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case refused(err):
	case c.usable() != nil:
		err = driver.ErrClosed // whatever the closed database said
	default:
		_, err = c.dialect.explain(err)
	}
	return fmt.Errorf("deedsql: %s: %w", what, err)
}
