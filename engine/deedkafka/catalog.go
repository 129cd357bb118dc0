package deedkafka

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// catalogTopic holds what Kafka has no place for, the last record of a key counts:
// "topic/NAME" is a topicEntry, "group/TOPIC/GROUP" a groupEntry, and
// "pause/TOPIC/GROUP" is there while the group is paused.
const catalogTopic = "_deed_catalog"

// catalog is this connection's copy of it.
type catalog struct {
	conn *Conn

	mu     sync.Mutex
	next   int64 // offset up to which it was read
	values map[string][]byte
}

// read gets up to date and calls look with all values, which it must not keep.
func (c *catalog) read(ctx context.Context, look func(map[string][]byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.sync(ctx)
	if errors.Is(err, kerr.UnknownTopicOrPartition) { // nobody has written yet
		c.next, c.values, err = 0, nil, nil
	}
	if err == nil {
		look(c.values)
	}
	return err
}

// upTo is the offset up to which it was read.
func (c *catalog) upTo() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

func (c *catalog) sync(ctx context.Context) error {
	ends, err := c.conn.admin.ListEndOffsets(ctx, catalogTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(catalogTopic, 0)
	if !ok {
		return kerr.UnknownTopicOrPartition
	}
	if end.Offset < c.next || c.values == nil {
		c.next, c.values = 0, make(map[string][]byte)
	}
	for c.next < end.Offset {
		rs, next, err := c.conn.fetch(ctx, catalogTopic, 0, c.next, fetchBytes)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if r.Value == nil {
				delete(c.values, string(r.Key))
			} else {
				c.values[string(r.Key)] = r.Value
			}
		}
		c.next = next
	}
	return nil
}

// write puts a value, nil to remove it.
func (c *catalog) write(ctx context.Context, key string, value any) error {
	r := &kgo.Record{Topic: catalogTopic, Key: []byte(key)}
	if value != nil {
		var err error
		if r.Value, err = json.Marshal(value); err != nil {
			return err
		}
	}
	err := c.conn.client.ProduceSync(ctx, r).FirstErr()
	deadline := time.Now().Add(patience)
	for errors.Is(err, kerr.UnknownTopicOrPartition) && time.Now().Before(deadline) {
		if err = c.create(ctx); err != nil {
			return err
		}
		again := &kgo.Record{Topic: catalogTopic, Key: r.Key, Value: r.Value}
		err = c.conn.client.ProduceSync(ctx, again).FirstErr()
	}
	return err
}

// create creates the topic unless it is there.
func (c *catalog) create(ctx context.Context) error {
	compact := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	_, err := c.conn.admin.CreateTopic(ctx, 1, c.conn.settings.replicas, compact, catalogTopic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return err
}
