package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"slices"
	"strings"
)

// enter implements [dialect]: what a transaction waits for are rows.
func (d *mysqlDialect) enter(context.Context) error { return nil }

func (d *mysqlDialect) leave() {}

// begin implements [dialect]. What is known of topics and partitions is read under
// their locks, since others write as well. Deadlocks begin anew, and so does what found
// its connection gone: nothing was written.
func (d *mysqlDialect) begin(ctx context.Context, n *needs, before *known) (*session, *known, error) {
	for tries := 0; ; tries++ {
		s, k, err := d.tryBegin(ctx, n, before)
		if err == nil {
			return s, k, nil
		}
		who, _ := d.explain(err)
		if again := who == noJob || errors.Is(err, sqldriver.ErrBadConn); !again || tries == retries || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

func (d *mysqlDialect) tryBegin(ctx context.Context, n *needs, before *known) (*session, *known, error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	s := newSession(conn, d)
	k := newKnown(0)
	if before != nil {
		k.kinds, k.rows = before.kinds, before.rows
	}
	for _, step := range []func(*session, *known, *needs) error{d.start, d.lockTopics, d.lockHeads, d.readTopics,
		d.readProducers, d.lockRest} {
		if err := step(s, k, n); err != nil {
			_, undone := s.exec("ROLLBACK")
			d.end(s, undone != nil)
			return nil, nil, err
		}
	}
	return s, k, nil
}

func (d *mysqlDialect) start(s *session, _ *known, _ *needs) error {
	_, err := s.exec("START TRANSACTION")
	return err
}

// end implements [dialect]. A connection that failed is not used again.
func (d *mysqlDialect) end(s *session, failed bool) {
	if failed {
		s.conn.Raw(func(any) error { return sqldriver.ErrBadConn }) //nolint:errcheck // it says so itself
	}
	s.close() //nolint:errcheck // a transaction that was committed is
}

// lockTopics locks the rows of topics. For one that is not there yet it locks the row
// that stands for all of those.
func (d *mysqlDialect) lockTopics(s *session, _ *known, n *needs) error {
	for _, l := range n.locks {
		if l.kind != lockTopic {
			continue
		}
		found, err := locked(s, topicRow, l.name)
		if err == nil && !found {
			if _, err = locked(s, lockRow, "topics"); err == nil {
				_, err = locked(s, topicRow, l.name) // it may have been made meanwhile
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	topicRow = "SELECT id FROM deed_topic WHERE name = ?" + forUpdate
	groupRow = "SELECT id FROM deed_group WHERE id = ?" + forUpdate
	lockRow  = "SELECT name FROM deed_lock WHERE name = ?" + forUpdate
)

// locked locks the row of a query and reports whether there is one.
func locked(s *session, query string, arg sqldriver.Value) (found bool, err error) {
	err = s.each(query, func([]sqldriver.Value) bool {
		found = true
		return true
	}, arg)
	return found, err
}

// lockRest locks groups, and what there is one of.
func (d *mysqlDialect) lockRest(s *session, _ *known, n *needs) error {
	for _, l := range n.locks {
		var err error
		switch l.kind {
		case lockGroup:
			_, err = locked(s, groupRow, l.id)
		case lockSweep:
			_, err = locked(s, lockRow, "sweep")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lockHeads locks the ends of partitions and reads them. All transactions take them in
// the order of the table's key. Those of a topic whose id is not known, or not what it
// was, are locked later, by who reads them.
func (d *mysqlDialect) lockHeads(s *session, k *known, n *needs) error {
	var args []sqldriver.Value
	for _, l := range n.locks {
		if l.kind != lockPartition {
			continue
		}
		id, err := d.id(s, l.name)
		if err != nil {
			return err
		}
		args = append(args, id, int64(l.partition))
	}
	if len(args) == 0 {
		return nil
	}
	args, rows := padRows(args, 2)
	query := "SELECT topic_id, partition, " + mysqlHead +
		" FROM deed_head FORCE INDEX (PRIMARY) WHERE (topic_id, partition) IN (" + tuples(rows, 2) + ")" + forUpdate
	return s.each(query, func(row []sqldriver.Value) bool {
		var n [9]int64
		for i := range n {
			n[i], _ = row[i].(int64)
		}
		h := &head{
			position: n[2], stored: n[3], removed: n[4], bytes: n[5], gone: n[6], scheduled: n[7], dueBytes: n[8],
		}
		h.was = h.changing()
		k.heads[place{n[0], int(n[1])}] = h
		return true
	}, args...)
}

// id returns the number of a topic, as it was known last or as it is; 0 for none.
func (d *mysqlDialect) id(s *session, topic string) (id int64, err error) {
	if id := d.ids[topic]; id != 0 {
		return id, nil
	}
	err = s.each("SELECT id FROM deed_topic WHERE name = ?", func(row []sqldriver.Value) bool {
		id, _ = row[0].(int64)
		return true
	}, topic)
	if id != 0 {
		d.ids[topic] = id
	}
	return id, err
}

// readTopics reads what is known of topics, and the time, now that all is locked.
func (d *mysqlDialect) readTopics(s *session, k *known, n *needs) error {
	var names []sqldriver.Value
	for _, l := range n.locks {
		if l.name != "" && !slices.Contains(names, sqldriver.Value(l.name)) {
			names = append(names, l.name)
			delete(d.ids, l.name)
		}
	}
	if len(names) > 0 {
		names, rows := padRows(names, 1)
		args := values(names)
		query := "SELECT " + topicColumns + ", " + mysqlNow + " FROM deed_topic WHERE name IN (" + places(rows) + ")"
		err := s.statements.each(query, args, func(rows *sql.Rows) error {
			t := &topic{}
			var micros int64
			if err := rows.Scan(append(t.dest(), &micros)...); err != nil {
				return err
			}
			k.time, k.topics[t.name], d.ids[t.name] = d.clock.set(micros), t, t.id
			return nil
		})
		if err != nil || !k.time.IsZero() {
			return err
		}
	}
	return s.each("SELECT "+mysqlNow, func(row []sqldriver.Value) bool {
		micros, _ := row[0].(int64)
		k.time = d.clock.set(micros)
		return true
	})
}

// readProducers reads the last numbers of the producers of batches.
func (d *mysqlDialect) readProducers(s *session, k *known, n *needs) error {
	var args []sqldriver.Value
	for _, b := range n.batches {
		t := k.topics[b.Topic]
		if t == nil || b.Producer == "" {
			continue
		}
		key := producerKey{b.Producer, place{t.id, b.Partition}}
		if k.producers[key] == nil {
			k.producers[key] = &producer{}
			args = append(args, key.name, key.topic, int64(key.partition))
		}
	}
	if len(args) == 0 {
		return nil
	}
	args, rows := padRows(args, 3)
	return s.each("SELECT producer, topic_id, partition, last_seq, at FROM deed_producer "+
		"WHERE (producer, topic_id, partition) IN ("+tuples(rows, 3)+")", func(row []sqldriver.Value) bool {
		var key producerKey
		key.name, _ = row[0].(string)
		key.topic, _ = row[1].(int64)
		partition, _ := row[2].(int64)
		key.partition = int(partition)
		if p := k.producers[key]; p != nil {
			p.last, _ = row[3].(int64)
			p.at, _ = row[4].(int64)
		}
		return true
	}, args...)
}

// try implements [dialect].
func (d *mysqlDialect) try(t *tx, l lock) (bool, error) {
	query, arg := lockRow, "sweep"
	if l.kind == lockTopic {
		query, arg = topicRow, l.name
	}
	return locked(t.session, query+" SKIP LOCKED", arg)
}

// committed implements [dialect]: the others look.
func (d *mysqlDialect) committed() {}

// padRows repeats the last of some rows of so many values until there is a power of two
// of them, so that few statements serve any number.
func padRows(values []sqldriver.Value, width int) (padded []sqldriver.Value, rows int) {
	rows = 1
	for rows*width < len(values) {
		rows *= 2
	}
	for last := values[len(values)-width:]; len(values) < rows*width; {
		values = append(values, last...)
	}
	return values, rows
}

// tuples returns placeholders for rows of so many values.
func tuples(rows, width int) string {
	row := "(" + places(width) + ")"
	return row + strings.Repeat(", "+row, rows-1)
}
