package deedsql

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Browse implements [driver.Browser].
func (c *Conn) Browse(_ context.Context, p driver.Page) ([]driver.Delivery, error) {
	what := "browse " + p.Topic
	at, err := driverkit.ParsePosition(p.After)
	if err != nil {
		return nil, c.fail(what, err)
	}
	t, err := c.partition(p.Topic, p.Partition)
	if err != nil {
		return nil, c.fail(what, err)
	}
	q := logQuery{
		topic: t.id, partition: p.Partition, at: at, backward: p.Backward, limit: max(p.Limit, 0), room: math.MaxInt,
	}
	if p.Backward && p.After == "" {
		q.at = math.MaxInt64
	}
	var got []driver.Delivery
	err = c.sessions.with(func(s *session) error {
		got, _, err = c.kinds.read(s, q, nil)
		return err
	})
	return got, c.fail(what, err)
}

// Seek implements [driver.Browser].
func (c *Conn) Seek(_ context.Context, topic string, partition int, when time.Time) (string, error) {
	what := "seek in " + topic
	t, err := c.partition(topic, partition)
	if err != nil {
		return "", c.fail(what, err)
	}
	var removed, end int64
	err = c.read.row("SELECT removed, position FROM deed_head WHERE topic_id = ? AND partition = ?",
		[]any{t.id, partition}, &removed, &end)
	if err != nil {
		return "", c.fail(what, err)
	}
	at, err := seek(c.read, t.id, partition, removed, end, when)
	return driverkit.Position(at), c.fail(what, err)
}

// Ends implements [driver.Browser].
func (c *Conn) Ends(_ context.Context, topic string) ([]string, error) {
	what := "ends of " + topic
	t, err := c.partition(topic, 0)
	if err != nil {
		return nil, c.fail(what, err)
	}
	ends, err := c.ends(t)
	if err != nil {
		return nil, c.fail(what, err)
	}
	texts := make([]string, len(ends))
	for i, end := range ends {
		texts[i] = driverkit.Position(end)
	}
	return texts, nil
}

// Compare implements [driver.Browser].
func (c *Conn) Compare(a, b string) (int, error) {
	return driverkit.ComparePositions(a, b)
}

// partition returns a topic that has the partition.
func (c *Conn) partition(name string, partition int) (*topic, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	t, err := readTopic(c.read, name)
	if err == nil && (partition < 0 || partition >= t.settings.Partitions) {
		err = fmt.Errorf("%w: topic %s has %d partitions and no partition %d",
			driver.ErrNotFound, name, t.settings.Partitions, partition)
	}
	return t, err
}

// ends returns the last position of every partition.
func (c *Conn) ends(t *topic) ([]int64, error) {
	ends := make([]int64, t.settings.Partitions)
	err := c.read.each("SELECT partition, position FROM deed_head WHERE topic_id = ?", []any{t.id},
		func(rows *sql.Rows) error {
			var p int
			var end int64
			if err := rows.Scan(&p, &end); err != nil {
				return err
			}
			if p < len(ends) {
				ends[p] = end
			}
			return nil
		})
	return ends, err
}
