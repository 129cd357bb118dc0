package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Publish implements [driver.Conn]: scripts that append several batches each, all in one
// pipeline.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("deedredis: publish: %w: %w", driver.ErrNotStored, err)
	}
	receipts := c.publish(ctx, batches)
	for i := range receipts {
		if receipts[i].Err != nil {
			receipts[i].Err = c.failBatch(&batches[i], receipts[i].Err)
		}
	}
	return receipts, nil
}

func (c *Conn) publish(ctx context.Context, batches []driver.Batch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(batches))
	all := newAppending(c)
	for i := range batches {
		if err := all.add(ctx, i, &batches[i]); err != nil {
			receipts[i].Err = driverkit.Unsent(err)
		}
	}
	results, short := c.appendAll(ctx, all.calls)
	all.giveBack(results)
	c.schedules(ctx, batches)
	for k, r := range results {
		answers, err := r.ToArray()
		if err == nil && len(answers) != len(all.of[k]) {
			err = fmt.Errorf("the script answered for %d batches of %d", len(answers), len(all.of[k]))
		}
		for n, i := range all.of[k] {
			if receipts[i].Err = err; err == nil {
				receipts[i] = c.receipt(ctx, &batches[i], &answers[n])
			}
			if receipts[i].Err == nil && short != nil {
				receipts[i] = driver.Receipt{Err: short}
			}
		}
	}
	return receipts
}

func (c *Conn) failBatch(b *driver.Batch, err error) error {
	err = explain(err)
	return fmt.Errorf("deedredis: publish to %s partition %d: %w", b.Topic, b.Partition, err)
}

// publishing checks a batch and returns its topic, and whether that is full.
func (c *Conn) publishing(ctx context.Context, b *driver.Batch) (t *topic, full bool, err error) {
	if t, err = c.known(ctx, b.Topic); err != nil {
		return nil, false, err
	}
	if b.Generation != 0 && b.Generation != t.info.Generation {
		if t, err = c.lookup(ctx, b.Topic); err != nil { // it may be made anew
			return nil, false, err
		}
	}
	if b.Partition < 0 || b.Partition >= t.info.Partitions {
		return nil, false, fmt.Errorf("%w: topic %s has %d partitions", driver.ErrRefused, b.Topic, t.info.Partitions)
	}
	if b.Producer != "" && b.Seq < 1 {
		return nil, false, fmt.Errorf("%w: producer %s begins at %d (want 1 or more)", driver.ErrRefused, b.Producer, b.Seq)
	}
	if t.info.Streams {
		return nil, false, driver.ErrStreams
	}
	full, err = c.full(ctx, t, b)
	return t, full, err
}

// appendAll runs the calls. Where the URL asks for it, it waits for replicas or the
// disk, on the same connection, or the answer would be about nothing; short tells that
// too few had what is stored by then, which may be lost.
func (c *Conn) appendAll(ctx context.Context, calls []call) (results []rueidis.RedisResult, short error) {
	if len(calls) == 0 {
		return nil, nil
	}
	if !c.settings.waits() {
		return c.runAll(ctx, calls), nil
	}
	results = c.runThen(calls, func(cmds rueidis.Commands) []rueidis.RedisResult {
		all := c.client.DoMulti(ctx, append(cmds, c.waiting())...)
		last := len(all) - 1
		short = errors.Join(short, c.waited(all[last]))
		return all[:last]
	})
	return results, short
}

// receipt reads what the script answered for a batch.
func (c *Conn) receipt(ctx context.Context, b *driver.Batch, m *rueidis.RedisMessage) driver.Receipt {
	answer, err := m.ToArray()
	if err != nil {
		return driver.Receipt{Err: err}
	}
	word, _ := answer[0].ToString()
	number := int64(0)
	if len(answer) > 1 {
		number, _ = answer[1].AsInt64()
	}
	switch word {
	case "stored":
		last, _ := answer[2].ToString()
		return driver.Receipt{Stored: int(number), Last: last}
	case "absent":
		return driver.Receipt{Err: c.absent(ctx, b)}
	case "generation":
		return driver.Receipt{Err: c.otherLife(ctx, b)}
	case "gap":
		return driver.Receipt{Err: fmt.Errorf("%w: producer %s sent %d after %d", driver.ErrGap, b.Producer, b.Seq, number)}
	case "full":
		return driver.Receipt{Err: c.fullError(ctx, b.Topic)}
	case "window":
		return c.again(ctx, b)
	case "known": // a part was stored before, by another run of the outbox: the rest is a batch of its own
		rest := *b
		rest.Seq, rest.Messages = b.Seq+number, b.Messages[number:]
		return c.again(ctx, &rest)
	case "lost":
		return driver.Receipt{Err: c.streamGone(b)}
	}
	return driver.Receipt{Err: fmt.Errorf("the script answered %q", word)}
}

// again publishes a batch that did not know of the topic's window, or of what is
// stored.
func (c *Conn) again(ctx context.Context, b *driver.Batch) driver.Receipt {
	if _, err := c.lookup(ctx, b.Topic); err != nil {
		return driver.Receipt{Err: err}
	}
	return c.publish(ctx, []driver.Batch{*b})[0]
}

// absent tells a topic that was deleted from a server that lost a part of one.
func (c *Conn) absent(ctx context.Context, b *driver.Batch) error {
	if _, err := c.lookup(ctx, b.Topic); err != nil {
		return err
	}
	return markerGone(b)
}

// waiting returns the command that waits for what the URL asks. It speaks of what was
// sent before on its connection, so it is sent in one piece with that.
func (c *Conn) waiting() rueidis.Completed {
	millis := strconv.FormatInt(c.settings.patience.Milliseconds(), 10)
	replicas := strconv.Itoa(c.settings.replicas)
	if c.settings.synced {
		return c.client.B().Arbitrary("WAITAOF", "1", replicas, millis).Build()
	}
	return c.client.B().Arbitrary("WAIT", replicas, millis).Build()
}

// waited returns nil when enough servers have it.
func (c *Conn) waited(r rueidis.RedisResult) error {
	if !c.settings.synced {
		n, err := r.AsInt64()
		if err == nil && n < int64(c.settings.replicas) {
			err = fmt.Errorf("%d of %d replicas have it after %v", n, c.settings.replicas, c.settings.patience)
		}
		return err
	}
	got, err := r.AsIntSlice()
	if err == nil && (len(got) != 2 || got[0] < 1 || got[1] < int64(c.settings.replicas)) {
		err = fmt.Errorf("not synced by this server and %d replicas after %v: %v",
			c.settings.replicas, c.settings.patience, got)
	}
	return err
}

// fullError names the group that holds most of a full topic.
func (c *Conn) fullError(ctx context.Context, name string) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	bound := fmt.Sprintf("topic %s has more than %d bytes", name, t.info.MaxBytes)
	if t.info.Streams {
		return fmt.Errorf("%w: %s, and keeps them for ever (raise the bound)", driver.ErrFull, bound)
	}
	lags, err := c.lags(ctx, "", name)
	if err != nil {
		return fmt.Errorf("%w: %s", driver.ErrFull, bound)
	}
	behind := make(map[string]int64)
	slowest := ""
	for _, l := range lags {
		if behind[l.Group] += l.Events; behind[l.Group] > behind[slowest] {
			slowest = l.Group
		}
	}
	if slowest == "" {
		return fmt.Errorf("%w: %s, none of them older than its keep of %v (shorten that or raise the bound)",
			driver.ErrFull, bound, t.info.Keep)
	}
	return fmt.Errorf("%w: %s, and group %s has %d events before it (run it, set it forward or raise the bound)",
		driver.ErrFull, bound, strings.TrimSpace(slowest), behind[slowest])
}
