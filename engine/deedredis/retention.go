package deedredis

import (
	"context"
	"strconv"
	"time"
)

const (
	// sweepStep is how many entries one script removes, so that others get their turn.
	sweepStep = 128
	// idleProducer is how long a producer's sequence is remembered. A bus that comes
	// back later is told of a gap, and starts a new one.
	idleProducer = 7 * 24 * time.Hour
)

// Sweep implements [driver.Sweeper].
func (c *Conn) Sweep(ctx context.Context, name string) (removed int64, err error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	t, err := c.lookup(ctx, name)
	if err != nil {
		return 0, c.fail("sweep "+name, err)
	}
	if t.info.Streams {
		return 0, nil
	}
	args := []string{
		strconv.FormatInt(t.info.Keep.Milliseconds(), 10), strconv.FormatInt(t.info.Hold.Milliseconds(), 10),
		strconv.Itoa(sweepStep), strconv.FormatInt(max(idleProducer, t.info.Keep).Milliseconds(), 10),
	}
	if t.info.Hold > 0 && t.info.Hold < time.Millisecond {
		args[1] = "1"
	}
	for p := 0; p < len(t.keys); {
		m, err := c.run(ctx, sweepScript, t.keys[p], args...)
		if err != nil {
			return removed, c.fail("sweep "+name, err)
		}
		answer, err := m.AsIntSlice()
		if err != nil {
			return removed, c.fail("sweep "+name, err)
		}
		removed += answer[0]
		if answer[1] == 0 {
			p++
		}
	}
	return removed, nil
}
