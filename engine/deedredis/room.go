package deedredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// A bound on a topic's bytes cannot be checked in one step, since its partitions lie in
// slots of their own. So each connection keeps a count, which it takes anew often enough
// that a topic exceeds its bound by what is published within that time at most. One that
// has half of its room left is not full within a second.
const (
	recountFar  = time.Second
	recount     = 200 * time.Millisecond
	recountFull = 10 * time.Millisecond // so that publishing goes on soon
)

// room is what a connection knows of the bytes of a bounded topic.
type room struct {
	mu    sync.Mutex
	bytes int64
	asOf  time.Time
}

// full reports whether the topic is at its bound, and counts the batch if it is not.
func (c *Conn) full(ctx context.Context, t *topic, b *driver.Batch) (bool, error) {
	bound := t.info.MaxBytes
	if bound <= 0 {
		return false, nil
	}
	c.mu.Lock()
	r := c.rooms[t.info.Name]
	if r == nil {
		r = &room{}
		c.rooms[t.info.Name] = r
	}
	c.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asOf) > r.due(bound) {
		n, err := c.bytes(ctx, t)
		if err != nil {
			return false, err
		}
		r.bytes, r.asOf = n, time.Now()
	}
	if r.bytes >= bound {
		return true, nil
	}
	for i := range b.Messages {
		r.bytes += int64(len(b.Messages[i].Data))
	}
	return false, nil
}

// due is how old a count may be.
func (r *room) due(bound int64) time.Duration {
	switch {
	case r.bytes >= bound:
		return recountFull
	case r.bytes >= bound/2:
		return recount
	}
	return recountFar
}

// bytes adds up the data of all partitions.
func (c *Conn) bytes(ctx context.Context, t *topic) (sum int64, err error) {
	cmds := make(rueidis.Commands, len(t.keys))
	for p, keys := range t.keys {
		cmds[p] = c.client.B().Hget().Key(keys[1]).Field("bytes").Build()
	}
	for _, r := range c.client.DoMulti(ctx, cmds...) {
		n, err := r.AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
