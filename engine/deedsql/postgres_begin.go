package deedsql

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// enter has nothing to wait for before it is known which locks a transaction needs.
func (d *postgresDialect) enter(context.Context) error { return nil }

func (d *postgresDialect) leave() {}

// lockNumber returns what an advisory lock of this database and schema is known by.
func (d *postgresDialect) lockNumber(names ...string) int64 {
	return sqldb.PostgresLock(append([]string{"deed", d.schema}, names...)...)
}

func (d *postgresDialect) number(l lock) int64 {
	return d.lockNumber(fmt.Sprint(l.kind), l.name, fmt.Sprint(l.partition), fmt.Sprint(l.id))
}

// begin sends all of it at once: BEGIN, the locks in the order of their numbers in a
// statement of its own, so that what comes after sees what their last holders committed,
// and then what the transaction will need of it.
func (d *postgresDialect) begin(ctx context.Context, n *needs, before *known) (*session, *known, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	k := newKnown(0)
	if before != nil {
		k.kinds, k.lastKind, k.lastNumber, k.rows = before.kinds, before.lastKind, before.lastNumber, before.rows
	}
	err = conn.Raw(func(c any) error { return d.opening(n, k).send(ctx, c.(*stdlib.Conn).Conn()) })
	if err != nil {
		conn.Close() // and the connection too, when it is within a transaction
		return nil, nil, err
	}
	return newSession(conn, d), k, nil
}

// commit looks at the answer: a transaction in which a statement has failed ends with
// ROLLBACK, which is no error to the server.
func (d *postgresDialect) commit(s *session) error {
	ctx, cancel := callContext()
	defer cancel()
	return s.conn.Raw(func(c any) error {
		tag, err := c.(*stdlib.Conn).Conn().Exec(ctx, "COMMIT")
		if err == nil && tag.String() != "COMMIT" {
			err = fmt.Errorf("%w: the server answered %s to COMMIT", driver.ErrNotStored, tag)
		}
		return err
	})
}

func (d *postgresDialect) end(s *session, failed bool) {
	if failed {
		s.conn.Raw(func(any) error { return sqldriver.ErrBadConn }) //nolint:errcheck // the pool drops it
	}
	s.conn.Close() // the pool drops what is within a transaction
}

func (d *postgresDialect) try(t *tx, l lock) (mine bool, err error) {
	err = t.row("SELECT pg_try_advisory_xact_lock(?)", []any{d.number(l)}, &mine)
	return mine, err
}

// opening is what a transaction begins with.
type opening struct {
	d *postgresDialect
	k *known
	b pgx.Batch
}

const (
	openingTopics = "SELECT " + topicColumns + " FROM deed_topic WHERE name = ANY(?::text[])"
	openingHeads  = "SELECT p.topic_id, p.partition, " + headColumns +
		" FROM unnest(?::text[], ?::integer[]) u (topic, part) JOIN deed_topic t ON t.name = u.topic " +
		"JOIN deed_partition p ON p.topic_id = t.id AND p.partition = u.part" + headLast
	openingProducers = "SELECT u.producer, t.id, u.part, coalesce(q.last_seq, 0), coalesce(q.at, 0) " +
		"FROM unnest(?::text[], ?::integer[], ?::text[]) u (topic, part, producer) JOIN deed_topic t ON t.name = u.topic " +
		"LEFT JOIN LATERAL (SELECT r.last_seq, r.at FROM deed_producer r WHERE r.topic_id = t.id " +
		"AND r.partition = u.part AND r.producer = u.producer ORDER BY r.last_seq DESC LIMIT 1) q ON true"
	openingIntakes = "SELECT p.topic_id, p.partition FROM deed_topic t JOIN deed_partition p ON p.topic_id = t.id " +
		"WHERE t.name = ANY(?::text[]) AND EXISTS " +
		"(SELECT 1 FROM deed_intake i WHERE i.topic_id = p.topic_id AND i.partition = p.partition)"
	selectNow = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
)

func (d *postgresDialect) opening(n *needs, k *known) *opening {
	o := &opening{d: d, k: k}
	o.b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	if d.pooler {
		o.b.Queue(fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = %d", postgresStall.Milliseconds()))
	}
	if len(n.locks) > 0 {
		numbers := make([]int64, len(n.locks))
		for i, l := range n.locks {
			numbers[i] = d.number(l)
		}
		slices.Sort(numbers)
		o.b.Queue("SELECT pg_advisory_xact_lock(l) FROM unnest($1::bigint[]) l", numbers)
	}
	o.b.Queue(selectNow).QueryRow(func(row pgx.Row) error {
		var nanos int64
		err := row.Scan(&nanos)
		k.time = time.Unix(0, nanos)
		if err == nil {
			d.told(nanos)
		}
		return err
	})
	o.reads(n)
	return o
}

// reads adds what batches need: their topics, the ends of their partitions and the
// numbers of their producers.
func (o *opening) reads(n *needs) {
	if len(n.batches) == 0 {
		return
	}
	var topics, names, places, producers []string
	var partitions, ofProducers []int32
	for _, l := range n.locks {
		if l.kind == lockPartition {
			topics, partitions = append(topics, l.name), append(partitions, int32(l.partition))
		}
	}
	seen := make(map[string]bool)
	for _, b := range n.batches {
		if !seen[b.Topic] {
			seen[b.Topic] = true
			names = append(names, b.Topic)
		}
		if b.Producer != "" {
			places, ofProducers = append(places, b.Topic), append(ofProducers, int32(b.Partition))
			producers = append(producers, b.Producer)
		}
	}
	each(o, openingTopics, func(rows pgx.Rows) error {
		t := &topic{}
		err := rows.Scan(t.dest()...)
		o.k.topics[t.name], o.k.intakes[t.id] = t, make(map[int]bool)
		return err
	}, names)
	each(o, openingIntakes, func(rows pgx.Rows) error {
		var at place
		err := rows.Scan(&at.topic, &at.partition)
		if in := o.k.intakes[at.topic]; in != nil {
			in[at.partition] = true
		}
		return err
	}, names)
	each(o, openingHeads, func(rows pgx.Rows) error {
		var at place
		h := &head{}
		err := rows.Scan(append([]any{&at.topic, &at.partition}, h.dest()...)...)
		o.k.heads[at] = h.scanned()
		return err
	}, topics, partitions)
	each(o, openingProducers, func(rows pgx.Rows) error {
		var key producerKey
		p := &producer{}
		err := rows.Scan(&key.name, &key.topic, &key.partition, &p.last, &p.at)
		o.k.producers[key] = p
		return err
	}, places, ofProducers, producers)
}

// each adds a query whose rows scan is called for.
func each(o *opening, query string, scan func(pgx.Rows) error, args ...any) {
	o.b.Queue(o.d.sql(query), args...).Query(func(rows pgx.Rows) error {
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

func (o *opening) send(ctx context.Context, c *pgx.Conn) error {
	err := c.SendBatch(ctx, &o.b).Close()
	if err != nil && c.PgConn().TxStatus() != 'I' && !c.IsClosed() {
		_, rolled := c.Exec(ctx, "ROLLBACK")
		err = errors.Join(err, rolled)
	}
	return err
}
