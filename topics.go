package deed

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/deedgo/deed/driver"
)

// topicCache remembers what the bus's topics are like, so that publishing asks the
// engine once.
type topicCache struct {
	mu   sync.Mutex
	info map[string]*driver.TopicInfo // never changed
}

// get returns what is known of a topic, or nil.
func (c *topicCache) get(name string) *driver.TopicInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info[name]
}

func (c *topicCache) put(info *driver.TopicInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info == nil {
		c.info = make(map[string]*driver.TopicInfo)
	}
	c.info[info.Name] = info
}

func (c *topicCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.info, name)
}

// topic returns what t is like on the engine, creating it with its declared
// settings if it has to and may.
func (b *Bus) topic(ctx context.Context, t *Topic) (*driver.TopicInfo, error) {
	if t == nil {
		return nil, errors.New("the draft has no topic (make it with Type.New or NewDraft)")
	}
	if info := b.topics.get(t.name); info != nil {
		return info, t.compare(info)
	}
	if err := t.validate(); err != nil {
		return nil, err
	}
	if t.pattern {
		return nil, fmt.Errorf(
			"%s is a pattern: events go to one topic (name one that it matches, with Draft.To): %w", t.name, driver.ErrRefused)
	}
	if err := b.canKeep(t); err != nil {
		return nil, err
	}
	info, err := b.ensureTopic(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", t.name, err)
	}
	b.topics.put(&info)
	return &info, t.compare(&info)
}

func (b *Bus) ensureTopic(ctx context.Context, t *Topic) (driver.TopicInfo, error) {
	topics, ok := driver.As[driver.Topics](b.conn)
	if !ok {
		info := driver.TopicInfo{Name: t.name, TopicSettings: t.settings()}
		if info.Partitions == 0 {
			info.Partitions = driver.DefaultPartitions
		}
		if b.features.Ephemeral {
			info.Partitions = 1 // what is published together comes in its order
		}
		return info, nil
	}
	if !b.opts.NoCreate {
		return topics.CreateTopic(ctx, t.name, t.settings())
	}
	info, err := topics.Topic(ctx, t.name)
	if errors.Is(err, driver.ErrNotFound) {
		err = fmt.Errorf("%w (create it with `deed topics create %s`, or unset Options.NoCreate)", err, t.name)
	}
	return info, err
}

// gone is err, the failure of a publish to a generation of a topic. When that is not there
// any more, or another one, it is ErrNotFound, and what the bus knew of it is forgotten.
func (b *Bus) gone(ctx context.Context, name string, generation int, err error) error {
	switch {
	case errors.Is(err, driver.ErrNotFound):
		b.topics.forget(name)
		what := "deleted"
		if errors.Is(err, driver.ErrLost) {
			what = "lost"
		}
		return fmt.Errorf("the topic was %s (publish again to create it): %w", what, err)
	case errors.Is(err, driver.ErrRefused) && b.madeAnew(ctx, name, generation):
		return fmt.Errorf("the topic was made anew (publish again): %w: %w", driver.ErrNotFound, err)
	}
	return err
}

// madeAnew tells whether a topic is at another generation now, and sees to it that the bus
// knows which.
func (b *Bus) madeAnew(ctx context.Context, name string, generation int) bool {
	topics, ok := driver.As[driver.Topics](b.conn)
	if !ok {
		return false
	}
	now, err := topics.Topic(ctx, name)
	if !errors.Is(err, driver.ErrNotFound) && (err != nil || now.Generation == generation) {
		return false
	}
	if known := b.topics.get(name); known != nil && known.Generation == generation {
		b.topics.forget(name)
	}
	return true
}

// subscribe joins a group on a topic, which it creates if it has to, or on a pattern.
func (b *Bus) subscribe(ctx context.Context, t *Topic, spec driver.SubscribeSpec) (sub driver.Subscription, err error) {
	if !t.pattern {
		if _, err := b.topic(ctx, t); err != nil {
			return nil, err
		}
		if sub, err = b.conn.Subscribe(ctx, spec); err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.name, err)
		}
		return sub, nil
	}
	patterns, ok := driver.As[driver.Patterns](b.conn)
	if !ok || !b.features.Patterns {
		return nil, fmt.Errorf("pattern %s: %s does not subscribe by pattern (name each topic): %w",
			t.name, b.features.Engine, errors.ErrUnsupported)
	}
	if sub, err = patterns.SubscribePattern(ctx, spec); err != nil {
		return nil, fmt.Errorf("pattern %s: %w", t.name, err)
	}
	return sub, nil
}

// canKeep refuses settings that the engine does not promise.
func (b *Bus) canKeep(t *Topic) error {
	o, f := t.opts, b.features
	for _, x := range [...]struct {
		asked, kept bool
		what, field string
	}{
		{o.Dedupe > 0, f.Dedupe, "has no id window", "Dedupe"},
		{o.Pack, f.Pack, "does not pack events", "Pack"},
		{o.MaxBytes > 0, f.Retention, "does not bound topics", "MaxBytes"},
		{o.Keep > 0, f.Retention, "keeps no events for a time", "Keep"},
		{o.Hold > 0, f.Retention, "holds no events for groups", "Hold"},
		{o.PartitionBy == ByType, f.KeyOrder, "keeps no order per type", "PartitionBy"},
		{o.Partitions > 0, !f.Ephemeral, "has no partitions to share", "Partitions"},
	} {
		if x.asked && !x.kept {
			return fmt.Errorf("topic %s: %s %s (unset TopicOptions.%s): %w",
				t.name, f.Engine, x.what, x.field, errors.ErrUnsupported)
		}
	}
	return nil
}

// compare reports settings that t declares and the topic does not have.
func (t *Topic) compare(info *driver.TopicInfo) error {
	by := info.PartitionBy
	if by == "" {
		by = ByKey
	}
	switch o := t.opts; {
	case o.Partitions != 0 && o.Partitions != info.Partitions:
		return t.differs("partitions", o.Partitions, info.Partitions)
	case o.PartitionBy != "" && o.PartitionBy != by:
		return t.differs("partition_by", o.PartitionBy, by)
	case o.Dedupe != 0 && o.Dedupe != info.Dedupe:
		return t.differs("dedupe", o.Dedupe, info.Dedupe)
	case o.Keep != 0 && o.Keep != info.Keep:
		return t.differs("keep", o.Keep, info.Keep)
	case o.Hold != 0 && o.Hold != info.Hold:
		return t.differs("hold", o.Hold, info.Hold)
	case o.MaxBytes != 0 && max(o.MaxBytes, 0) != max(info.MaxBytes, 0): // which are all without a bound
		return t.differs("max_bytes", o.MaxBytes, info.MaxBytes)
	case o.Pack && !info.Pack:
		return t.differs("pack", o.Pack, info.Pack)
	}
	return nil
}

// ErrExists means that a topic exists with other settings than the program declares.
var ErrExists = errors.New("exists with other settings")

func (t *Topic) differs(setting string, declared, has any) error {
	return fmt.Errorf("topic %s: %w: %s is %v, this program declares %v (change one of them; see `deed topics set`)",
		t.name, ErrExists, setting, has, declared)
}

// partitionFor returns where e belongs. Events without order are spread, by the given
// number or, on a topic with an id window, by their id.
func partitionFor(info *driver.TopicInfo, e *Event, spread uint64) int {
	n := max(info.Partitions, 1)
	switch {
	case info.PartitionBy == ByType:
		return driver.PartitionOf(e.Type, n)
	case e.Key != "":
		return driver.PartitionOf(e.Key, n)
	case info.Dedupe > 0 && e.ID != "": // where it went before, since each partition has its own window
		return driver.PartitionOf(e.ID, n)
	default:
		return int(spread % uint64(n))
	}
}
