package driverkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// fed is the connection of a Feeder with its state. A topic is one of the state's,
// "SPACE/TOPIC", with as many partitions and no events: its groups, claims and positions
// are those of the log's queues, or logs.
type fed struct {
	book
	recordStore
	log      Feeder
	space    string            // with a slash
	others   map[string]string // why a topic is refused, by the space that it is in
	queues   Queues            // nil when it has logs
	logs     Logs              // nil when it has queues
	fence    driver.Resetter   // the state's
	shadows  driver.Topics
	groups   driver.Groups
	ledger   Ledger
	features driver.Features

	mu     sync.Mutex
	recent map[string]seenTopic
}

// seenTopic is a topic as it was a moment ago.
type seenTopic struct {
	driver.TopicInfo
	at time.Time
}

// fresh is how long a look at a topic counts for publishers.
const fresh = time.Second

// newFed pairs a log that says what it promises with a state.
func newFed(l driver.Features, log Feeder, state driver.Conn) (driver.Conn, error) {
	s := state.Features()
	c := &fed{log: log, features: l, recent: make(map[string]seenTopic)}
	if err := c.take(log); err != nil {
		return nil, err
	}
	c.space, c.others = log.Space()
	c.space += "/"
	c.book = book{state: state, named: func(shadow string, p int) (string, int, bool) {
		topic, ok := c.shadowed(shadow)
		return topic, p, ok
	}, place: func(topic string, p int) (string, int) { return c.shadow(topic), p }}
	var has [7]bool
	c.ledger, has[0] = driver.As[Ledger](state)
	c.recordStore, has[1] = driver.As[driver.Records](state)
	c.shadows, has[2] = driver.As[driver.Topics](state)
	c.groups, has[3] = driver.As[driver.Groups](state)
	c.side, has[4] = driver.As[driver.SideLog](state)
	c.letters, has[5] = driver.As[driver.Letters](state)
	c.fence, has[6] = driver.As[driver.Resetter](state)
	for _, ok := range has {
		if !ok {
			return nil, fmt.Errorf("%w: %s cannot keep the state of %s (want sqlite, postgres or mysql)",
				driver.ErrRefused, s.Engine, l.Engine)
		}
	}
	f := &c.features
	f.Groups, f.Fenced, f.SideLog, f.Lag, f.Records = true, true, true, true, true
	f.MultiProcess = l.MultiProcess && s.MultiProcess
	if s.Durability < l.Durability {
		f.Durability, f.Setting = s.Durability, s.Setting
	}
	if c.logs != nil {
		return &fedLog{c}, nil
	}
	return c, nil
}

// take finds out whether a feeder has queues or logs, and refuses one that promises otherwise.
func (c *fed) take(log Feeder) error {
	var keeps, waits bool
	if c.logs, keeps = driver.As[Logs](log); !keeps {
		c.queues, waits = driver.As[Queues](log)
	}
	f := &c.features
	if !keeps && !waits || f.Browse != keeps || f.Backlog != keeps || f.Reset != keeps {
		return fmt.Errorf("%w: %s has neither queues nor logs, or promises what these do not keep",
			driver.ErrRefused, f.Engine)
	}
	return nil
}

// Features implements [driver.Conn].
func (c *fed) Features() driver.Features { return c.features }

// Close implements [driver.Conn].
func (c *fed) Close() error { return errors.Join(c.log.Close(), c.state.Close()) }

// shadow is the state's topic of a topic.
func (c *fed) shadow(topic string) string { return c.space + topic }

// shadowed is its reverse; a topic of the state's own is none.
func (c *fed) shadowed(name string) (topic string, ok bool) {
	return strings.CutPrefix(name, c.space)
}

// List implements [driver.Letters].
func (c *fed) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if f.Topic == "" {
		return c.book.List(ctx, f)
	}
	f.Topic = c.shadow(f.Topic)
	ls, err := c.letters.List(ctx, f)
	return c.inLog(ls), err
}

// Publish implements [driver.Conn].
func (c *fed) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	receipts := make([]driver.Receipt, len(batches))
	var good []driver.Batch
	var at []int
	for i := range batches {
		if err := c.accepts(ctx, &batches[i]); err != nil {
			receipts[i].Err = fmt.Errorf("%s: publish to %s: %w", c.features.Engine, batches[i].Topic, err)
			continue
		}
		good, at = append(good, batches[i]), append(at, i)
	}
	if len(good) == 0 {
		return receipts, nil
	}
	rs, err := c.log.Publish(ctx, good)
	if err != nil {
		return nil, err
	}
	for i, r := range rs {
		if errors.Is(r.Err, driver.ErrNotFound) {
			r.Err = c.missing(ctx, good[i].Topic, r.Err)
		}
		receipts[at[i]] = r
	}
	return receipts, nil
}

// accepts refuses a batch that its topic has no place for.
func (c *fed) accepts(ctx context.Context, b *driver.Batch) error {
	c.mu.Lock()
	t, ok := c.recent[b.Topic]
	c.mu.Unlock()
	if !ok || time.Since(t.at) > fresh {
		info, err := c.look(ctx, b.Topic)
		if err != nil {
			return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
		}
		t.TopicInfo = info
	}
	switch {
	case b.Generation != 0 && b.Generation != t.Generation:
		return fmt.Errorf("%w: the topic is in generation %d, the batch for %d",
			driver.ErrRefused, t.Generation, b.Generation)
	case b.Partition < 0 || b.Partition >= t.Partitions:
		return fmt.Errorf("%w: partition %d of %d", driver.ErrRefused, b.Partition, t.Partitions)
	}
	return nil
}

// missing is why the log has no such topic: somebody deleted it here, or only there.
func (c *fed) missing(ctx context.Context, topic string, err error) error {
	if _, look := c.look(ctx, topic); look == nil {
		return fmt.Errorf("%w: %w", driver.ErrLost, err)
	}
	return err
}

// look returns a topic as the state has it, without counts.
func (c *fed) look(ctx context.Context, name string) (driver.TopicInfo, error) {
	at := time.Now()
	err := c.alone(ctx, name)
	if err == nil {
		var info driver.TopicInfo
		if info, err = c.shadows.Topic(ctx, c.shadow(name)); err == nil {
			return c.remember(info, at), nil
		}
	}
	c.forget(name)
	return driver.TopicInfo{}, fmt.Errorf("%s: topic %s: %w", c.features.Engine, name, err)
}

// alone is ErrRefused when a topic is there in another space.
func (c *fed) alone(ctx context.Context, name string) error {
	for space, why := range c.others {
		_, err := c.shadows.Topic(ctx, space+"/"+name)
		if err == nil {
			return fmt.Errorf("%w: %s", driver.ErrRefused, why)
		}
		if !errors.Is(err, driver.ErrNotFound) {
			return err
		}
	}
	return nil
}

// forget makes the next publisher look at a topic.
func (c *fed) forget(name string) {
	c.mu.Lock()
	delete(c.recent, name)
	c.mu.Unlock()
}

// remember keeps what the state has told about a topic, under the name it has in the log.
func (c *fed) remember(info driver.TopicInfo, at time.Time) driver.TopicInfo {
	info.Name, _ = c.shadowed(info.Name)
	info.Events, info.Bytes, info.Scheduled, info.NextDue = 0, 0, 0, time.Time{}
	c.mu.Lock()
	c.recent[info.Name] = seenTopic{info, at}
	c.mu.Unlock()
	return info
}
