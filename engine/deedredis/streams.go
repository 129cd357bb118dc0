package deedredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// AppendStream implements [driver.Streams].
func (c *Conn) AppendStream(ctx context.Context, b driver.StreamBatch) (last string, err error) {
	what := fmt.Sprintf("append to stream %q of %s", b.Key, b.Topic)
	if err := c.usable(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("deedredis: %s: %w: %w", what, driver.ErrNotStored, err)
	}
	if err := b.Check(); err != nil {
		return "", c.fail(what, err)
	}
	last, err = c.appendStream(ctx, &b)
	if errors.Is(err, driver.ErrConflict) {
		return driverkit.Repeated(ctx, c, &b, c.fail(what, err))
	}
	return last, c.fail(what, err)
}

// appendStream appends to a stream of the topic as it is known, and when that was made
// anew as it is then.
func (c *Conn) appendStream(ctx context.Context, b *driver.StreamBatch) (last string, err error) {
	for range 2 {
		t, err := c.streamsOf(ctx, b.Topic)
		if err != nil {
			return "", driverkit.Unsent(err)
		}
		of := driver.Batch{Topic: b.Topic, Generation: t.info.Generation, Messages: b.Messages,
			Partition: driver.PartitionOf(b.Key, t.info.Partitions)}
		full, err := c.full(ctx, t, &of)
		if err != nil {
			return "", driverkit.Unsent(err)
		}
		keys := c.keys.stream(b.Topic, of.Partition, b.Key)
		results, short := c.appendAll(ctx, []call{{streamScript, keys, streamArgs(t, b, full)}})
		answer, err := results[0].ToArray()
		if err != nil {
			return "", err
		}
		switch word, _ := answer[0].ToString(); word {
		case "stored":
			last, err := answer[2].ToString()
			return last, errors.Join(err, short)
		case "conflict":
			version, err := answer[1].AsInt64()
			if err = errors.Join(err, short); err != nil { // what is there is not where it has to be yet
				return "", err
			}
			return "", fmt.Errorf("it was thought to be at version %d: %w", b.Version, &driver.ConflictError{Version: version})
		case "generation": // the next turn sees the new one
			if _, err := c.lookup(ctx, b.Topic); err != nil {
				return "", driverkit.Unsent(err)
			}
		default:
			m, err := results[0].ToMessage()
			return "", errors.Join(err, c.receipt(ctx, &of, &m).Err)
		}
	}
	return "", fmt.Errorf("%w: the topic is being made anew again and again", driver.ErrNotStored)
}

// streamArgs writes what the script stream.lua takes.
func streamArgs(t *topic, b *driver.StreamBatch, full bool) []string {
	args := []string{strconv.Itoa(t.info.Generation), b.Key, strconv.FormatInt(b.Version, 10), flag(full)}
	for i := range b.Messages {
		m := &b.Messages[i]
		args = append(args, rueidis.BinaryString(driverkit.AppendAttributes(nil, m)), string(m.Data))
	}
	return args
}

// ReadStream implements [driver.Streams].
func (c *Conn) ReadStream(ctx context.Context, p driver.StreamPage) ([]driver.Delivery, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	ds, err := c.readStream(ctx, p)
	return ds, c.fail(fmt.Sprintf("read stream %q of %s", p.Key, p.Topic), err)
}

func (c *Conn) readStream(ctx context.Context, p driver.StreamPage) ([]driver.Delivery, error) {
	t, err := c.streamsOf(ctx, p.Topic)
	if err != nil || p.Limit < 1 || p.After < 0 {
		return nil, err
	}
	partition := driver.PartitionOf(p.Key, t.info.Partitions)
	m, err := c.run(ctx, readScript, []string{t.keys[partition][0], c.keys.stream(p.Topic, partition, p.Key)[2]},
		strconv.FormatInt(p.After, 10), strconv.Itoa(p.Limit))
	if err != nil {
		return nil, err
	}
	answer, err := m.ToArray()
	if err != nil {
		return nil, err
	}
	if hole, err := answer[0].AsInt64(); err != nil || hole > 0 {
		return nil, errors.Join(err, fmt.Errorf("%w: its version %d is not in the log any more: somebody deleted the entry",
			driver.ErrLost, hole))
	}
	list, err := answer[1].ToArray()
	if err != nil {
		return nil, err
	}
	var ds []driver.Delivery
	for i := range list {
		e, err := parseEntry(&list[i])
		if err == nil {
			ds, err = e.deliveries(ds, p.Topic, partition, position{})
		}
		if err != nil {
			return nil, err
		}
	}
	return ds, nil
}

// streamsOf returns a topic when it is one of streams.
func (c *Conn) streamsOf(ctx context.Context, name string) (*topic, error) {
	t, err := c.known(ctx, name)
	if err == nil && !t.info.Streams {
		t, err = c.lookup(ctx, name) // it may be made anew
	}
	if err == nil && !t.info.Streams {
		err = fmt.Errorf("%w: it is no topic of streams", driver.ErrRefused)
	}
	return t, err
}
