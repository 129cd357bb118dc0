package deedredis

import (
	"context"
	"strconv"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

const (
	// moveEvery is how often a connection looks for delayed events of its topics that
	// another one has accepted.
	moveEvery = time.Second
	// moveStep is how many events one script moves, so that others get their turn.
	moveStep = 256
)

// moves lets this connection move the delayed events of a topic: any that has it open
// does, and what is moved is moved once, by a script.
func (c *Conn) moves(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.movers[topic]; s != nil {
		s.Notify() // something was delayed that may be due before all else
		return
	}
	if c.closed {
		return
	}
	s := &driverkit.Signal{}
	c.movers[topic] = s
	c.done.Go(func() { c.mover(topic, s) })
}

func (c *Conn) mover(topic string, s *driverkit.Signal) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		delayed := s.Wait()
		timer.Reset(c.moveDue(topic))
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-delayed:
		}
	}
}

// moveDue moves what is due and returns when to look again. A server that cannot be
// asked is asked again then.
func (c *Conn) moveDue(name string) time.Duration {
	for c.ctx.Err() == nil {
		t, err := c.known(c.ctx, name)
		if err != nil {
			return moveEvery
		}
		calls := make([]call, len(t.keys))
		for p, keys := range t.keys {
			calls[p] = call{moveScript, keys[:2], []string{strconv.Itoa(moveStep)}}
		}
		more := false
		wait := moveEvery
		for _, r := range c.runAll(c.ctx, calls) {
			answer, err := texts(&r)
			if err != nil {
				continue
			}
			more = more || answer[0] == strconv.Itoa(moveStep)
			if answer[1] != "" {
				micros, err := strconv.ParseFloat(answer[1], 64)
				if err == nil {
					wait = min(wait, max(0, time.Until(time.UnixMicro(int64(micros)))))
				}
			}
		}
		if !more {
			return max(wait, time.Millisecond)
		}
	}
	return moveEvery
}

// schedules starts to move what the batches delay.
func (c *Conn) schedules(ctx context.Context, batches []driver.Batch) {
	for i := range batches {
		if ctx.Err() == nil && delays(&batches[i]) {
			c.moves(batches[i].Topic)
		}
	}
}
