package deednats

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// A bound on a topic's bytes cannot be checked in the step that appends, since each
// partition counts for itself. So a connection adds them up often enough that a topic
// exceeds its bound by what is published in that time at most. One that has half of its
// room left is not full within a second.
const (
	recountFar  = time.Second
	recountNear = 200 * time.Millisecond
	recountFull = 10 * time.Millisecond // so that publishing goes on soon
)

// room is what a connection knows of the bytes of a bounded topic.
type room struct {
	mu    sync.Mutex
	bytes int64
	asOf  time.Time
}

// due is how old a count may be.
func (r *room) due(bound int64) time.Duration {
	switch {
	case r.bytes >= bound:
		return recountFull
	case r.bytes >= bound/2:
		return recountNear
	}
	return recountFar
}

// room is ErrFull when the topic is at its MaxBytes, and counts the batch otherwise.
func (c *Conn) room(ctx context.Context, t *topic, b *driver.Batch) error {
	bound := t.info.MaxBytes
	if bound <= 0 {
		return nil
	}
	r := &t.known.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asOf) > r.due(bound) {
		info, err := c.describe(ctx, t)
		if err != nil {
			return err
		}
		r.bytes, r.asOf = info.Bytes, time.Now()
	}
	if r.bytes >= bound {
		return c.full(ctx, t, r.bytes)
	}
	for i := range b.Messages {
		r.bytes += int64(len(b.Messages[i].Data))
	}
	return nil
}

// full names the group that has the most before it.
func (c *Conn) full(ctx context.Context, t *topic, bytes int64) error {
	bound := fmt.Sprintf("topic %s has %d bytes of %d", t.info.Name, bytes, t.info.MaxBytes)
	lags, err := c.lags(ctx, "", t.info.Name)
	if err != nil {
		return fmt.Errorf("%w: %s", driver.ErrFull, bound)
	}
	behind := make(map[string]int64)
	slowest := ""
	for _, l := range lags {
		if behind[l.Group] += l.Events + l.Parked; slowest == "" || behind[l.Group] > behind[slowest] {
			slowest = l.Group
		}
	}
	if slowest == "" {
		return fmt.Errorf("%w: %s, none of them older than its keep of %v (shorten that or raise the bound)",
			driver.ErrFull, bound, t.info.Keep)
	}
	return fmt.Errorf("%w: %s, and group %s has %d events before it (run it, set it forward or raise the bound)",
		driver.ErrFull, bound, slowest, behind[slowest])
}
