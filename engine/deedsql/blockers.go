package deedsql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/deedgo/deed/sqldb"
)

// Blockers returns the transactions of the database's server that have been open for a second
// or longer, the oldest first, once for each thing that they hold back. An SQLite file has no
// server to ask: it is errors.ErrUnsupported there. A program finds it from a bus with
// driver.As[*deedsql.Conn](bus.Conn()).
func (c *Conn) Blockers(ctx context.Context) ([]sqldb.Blocker, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	db := sqldb.SQLite(c.db)
	switch c.dialect.(type) {
	case *postgresDialect:
		db = sqldb.Postgres(c.db)
	case *mysqlDialect:
		db = sqldb.MySQL(c.db)
	}
	open, err := db.OpenTxs(ctx)
	if err != nil || len(open) == 0 {
		return nil, c.fail("blockers", err)
	}
	names, err := c.lockNames()
	if err != nil {
		return nil, c.fail("blockers", err)
	}
	var all []sqldb.Blocker
	for _, t := range open {
		all = append(all, blockersOf(t, names)...)
	}
	return all, nil
}

// lockNames returns what a lock of the database holds back, by how it is called there.
func (c *Conn) lockNames() (map[string]sqldb.Blocker, error) {
	names := make(map[string]sqldb.Blocker)
	byNumber, _ := c.dialect.(*postgresDialect)
	add := func(l lock, row string, b sqldb.Blocker) {
		if byNumber != nil {
			row = fmt.Sprint(byNumber.number(l))
		}
		names[row] = b
	}
	err := c.read.each("SELECT id, name, partitions FROM deed_topic", nil, func(rows *sql.Rows) error {
		var id int64
		var topic string
		var partitions int
		if err := rows.Scan(&id, &topic, &partitions); err != nil {
			return err
		}
		add(topicLock(topic), fmt.Sprintf("deed_topic %d", id), sqldb.Blocker{What: sqldb.BlockedOther, Topic: topic})
		for p := range partitions {
			add(partitionLock(topic, p), fmt.Sprintf("deed_head %d, %d", id, p),
				sqldb.Blocker{What: sqldb.BlockedPublish, Topic: topic, Partition: p})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = c.read.each("SELECT g.id, t.name FROM deed_group g JOIN deed_topic t ON t.id = g.topic_id", nil,
		func(rows *sql.Rows) error {
			var id int64
			var topic string
			err := rows.Scan(&id, &topic)
			add(groupLock(id), fmt.Sprintf("deed_group %d", id), sqldb.Blocker{What: sqldb.BlockedGroup, Topic: topic})
			return err
		})
	return names, err
}

// blockersOf says what a transaction holds back.
func blockersOf(t sqldb.OpenTx, names map[string]sqldb.Blocker) (all []sqldb.Blocker) {
	add := func(b sqldb.Blocker) {
		b.PID, b.Name, b.State, b.Age, b.Waiting = t.PID, t.Name, t.State, t.Age, t.Waiting
		all = append(all, b)
	}
	held := slices.Clone(t.Rows)
	for _, number := range t.Locks {
		held = append(held, fmt.Sprint(number))
	}
	for _, l := range held {
		if b, known := names[l]; known && !t.Waits {
			add(b)
		}
	}
	foreign := len(t.Locks) > 0 // it may be a lock of others' that is waited for
	if len(all) == 0 && t.Waiting > 0 && !t.Waits && !foreign {
		add(sqldb.Blocker{What: sqldb.BlockedOther})
	}
	if slices.Contains(t.Tables, "deed_outbox") {
		add(sqldb.Blocker{What: sqldb.BlockedOutbox})
	}
	if t.Oldest {
		add(sqldb.Blocker{What: sqldb.BlockedVacuum})
	}
	return all
}
