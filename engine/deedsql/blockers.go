package deedsql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// Blockers implements [driver.Blockers].
func (c *Conn) Blockers(ctx context.Context) ([]driver.Blocker, error) {
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
	var all []driver.Blocker
	for _, t := range open {
		all = append(all, blockersOf(t, names)...)
	}
	return all, nil
}

// lockNames returns what a lock of the database holds back, by how it is called there.
func (c *Conn) lockNames() (map[string]driver.Blocker, error) {
	names := make(map[string]driver.Blocker)
	byNumber, _ := c.dialect.(*postgresDialect)
	add := func(l lock, row string, b driver.Blocker) {
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
		add(topicLock(topic), fmt.Sprintf("deed_topic %d", id), driver.Blocker{What: driver.BlockedOther, Topic: topic})
		for p := range partitions {
			add(partitionLock(topic, p), fmt.Sprintf("deed_head %d, %d", id, p),
				driver.Blocker{What: driver.BlockedPublish, Topic: topic, Partition: p})
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
			add(groupLock(id), fmt.Sprintf("deed_group %d", id), driver.Blocker{What: driver.BlockedGroup, Topic: topic})
			return err
		})
	return names, err
}

// blockersOf says what a transaction holds back.
func blockersOf(t sqldb.OpenTx, names map[string]driver.Blocker) (all []driver.Blocker) {
	add := func(b driver.Blocker) {
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
		add(driver.Blocker{What: driver.BlockedOther})
	}
	if slices.Contains(t.Tables, "deed_outbox") {
		add(driver.Blocker{What: driver.BlockedOutbox})
	}
	if t.Oldest {
		add(driver.Blocker{What: driver.BlockedVacuum})
	}
	return all
}
