package deedkafka

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
)

// topicEntry is what the catalog holds of a topic. Of one that is gone it stays, so that
// the next of its name has a larger generation.
type topicEntry struct {
	ID         string        `json:"id"` // Kafka's, in base64
	Generation int           `json:"generation"`
	By         string        `json:"by"`
	Keep       time.Duration `json:"keep"`
	Hold       time.Duration `json:"hold,omitempty"`
	Created    time.Time     `json:"created"`
}

// topic is a topic as it was when last looked at.
type topic struct {
	name   string
	detail kadm.TopicDetail
	entry  topicEntry
	seen   time.Time
}

// fresh is how long a look at a topic counts.
const fresh = time.Second

// checkName refuses what Kafka would, in words.
func checkName(name string) error {
	ok := name != "" && len(name) <= 249 && name != "." && name != ".."
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: topic %q (want 1 to 249 letters, digits, dots, underscores and hyphens)",
			driver.ErrRefused, name)
	}
	return nil
}

// recent returns a topic from a look that still counts, or looks.
func (c *Conn) recent(ctx context.Context, name string) (*topic, error) {
	c.mu.Lock()
	t := c.topics[name]
	c.mu.Unlock()
	if t != nil && time.Since(t.seen) < fresh {
		return t, nil
	}
	return c.look(ctx, name)
}

// look returns a topic as it is now, or ErrNotFound.
func (c *Conn) look(ctx context.Context, name string) (*topic, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	if checkName(name) != nil || name == catalogTopic {
		return nil, c.fail("topic "+name, driver.ErrNotFound)
	}
	seen := time.Now()
	details, err := c.details(ctx, name)
	var t *topic
	if err == nil {
		t, err = c.describe(ctx, details[name], seen)
	}
	c.mu.Lock()
	if err == nil {
		c.topics[name] = t
	} else {
		delete(c.topics, name)
	}
	c.mu.Unlock()
	return t, c.fail("topic "+name, err)
}

// details asks the cluster about topics, all without names. The client's own answers may
// be of a while ago.
func (c *Conn) details(ctx context.Context, names ...string) (kadm.TopicDetails, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, err
	}
	details := make(kadm.TopicDetails, len(resp.Topics))
	for _, t := range resp.Topics {
		if t.Topic == nil || t.IsInternal {
			continue
		}
		d := kadm.TopicDetail{
			Topic: *t.Topic, ID: t.TopicID, Err: kerr.ErrorForCode(t.ErrorCode), Partitions: make(kadm.PartitionDetails),
		}
		for _, p := range t.Partitions {
			d.Partitions[p.Partition] = kadm.PartitionDetail{
				Topic: *t.Topic, Partition: p.Partition, Leader: p.Leader, Err: kerr.ErrorForCode(p.ErrorCode),
			}
		}
		details[*t.Topic] = d
	}
	return details, nil
}

// describe adds the catalog's entry to what the cluster says. Of a topic that others made
// it is made up, in one way by all connections.
func (c *Conn) describe(ctx context.Context, d kadm.TopicDetail, seen time.Time) (*topic, error) {
	if d.Err != nil || len(d.Partitions) == 0 {
		return nil, cmp.Or(d.Err, error(kerr.UnknownTopicOrPartition))
	}
	t := &topic{name: d.Topic, detail: d, seen: seen}
	var last topicEntry
	var damage error
	err := c.catalog.read(ctx, func(values map[string][]byte) {
		if value, ok := values["topic/"+d.Topic]; ok {
			damage = json.Unmarshal(value, &last)
		}
	})
	if err = errors.Join(err, damage); err != nil {
		return nil, err
	}
	if t.entry = last; last.ID != d.ID.String() {
		t.entry = topicEntry{Generation: last.Generation + 1, By: "key", Keep: driver.DefaultKeep}
	}
	return t, nil
}

// listed reports whether deed has made the topic or taken it on.
func (t *topic) listed() bool { return t.entry.ID != "" }

// info tells about topics. starts and ends are of all of them.
func (t *topic) info(starts, ends kadm.ListedOffsets) driver.TopicInfo {
	info := driver.TopicInfo{
		Name: t.name,
		TopicSettings: driver.TopicSettings{
			Partitions: len(t.detail.Partitions), PartitionBy: t.entry.By, Keep: t.entry.Keep, Hold: t.entry.Hold,
		},
		Generation: t.entry.Generation, Incarnation: t.detail.ID.String(), Created: t.entry.Created,
	}
	for p := range t.detail.Partitions {
		start, _ := starts.Lookup(t.name, p)
		end, _ := ends.Lookup(t.name, p)
		if err := cmp.Or(start.Err, end.Err); err != nil {
			info.Damage = fmt.Sprintf("partition %d: %v", p, err)
			continue
		}
		info.Events += end.Offset - start.Offset
	}
	return info
}

// infos counts events.
func (c *Conn) infos(ctx context.Context, ts ...*topic) ([]driver.TopicInfo, error) {
	if len(ts) == 0 {
		return nil, nil
	}
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.name
	}
	starts, err := c.admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	ends, err := c.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	infos := make([]driver.TopicInfo, len(ts))
	for i, t := range ts {
		infos[i] = t.info(starts, ends)
	}
	return infos, nil
}

// Topic implements [driver.Topics].
func (c *Conn) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	t, err := c.look(ctx, name)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	infos, err := c.infos(ctx, t)
	if err != nil {
		return driver.TopicInfo{}, c.fail("topic "+name, err)
	}
	return infos[0], nil
}

// Topics implements [driver.Topics].
func (c *Conn) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	if err := c.closed(); err != nil {
		return nil, err
	}
	details, err := c.details(ctx)
	if err != nil {
		return nil, c.fail("topics", err)
	}
	var ts []*topic
	for _, name := range slices.Sorted(slices.Values(details.Names())) {
		if name == catalogTopic {
			continue
		}
		t, err := c.describe(ctx, details[name], time.Now())
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition): // deleted meanwhile
		case err != nil:
			return nil, c.fail("topics", err)
		default:
			ts = append(ts, t)
		}
	}
	infos, err := c.infos(ctx, ts...)
	return infos, c.fail("topics", err)
}

// complete fills in the defaults and refuses what Kafka does not keep.
func (c *Conn) complete(s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.Features())
	switch {
	case err != nil:
	case s.Dedupe > 0, s.Pack, s.Streams, s.MaxBytes > 0:
		err = fmt.Errorf("%w: Kafka keeps no id window, packs, streams and bound on bytes", driver.ErrRefused)
	}
	return s, err
}

// CreateTopic implements [driver.Topics].
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	if err := c.closed(); err != nil {
		return driver.TopicInfo{}, err
	}
	s, err := c.complete(s)
	if err == nil {
		err = checkName(name)
	}
	if err == nil && name == catalogTopic {
		err = fmt.Errorf("%w: it is where deed keeps what Kafka has no place for", driver.ErrRefused)
	}
	if err != nil {
		return driver.TopicInfo{}, c.fail("create topic "+name, err)
	}
	configs := map[string]*string{
		"retention.ms":           kadm.StringPtr(strconv.FormatInt(s.Keep.Milliseconds(), 10)),
		"max.message.bytes":      kadm.StringPtr(strconv.Itoa(maxBatch)),
		"message.timestamp.type": kadm.StringPtr("LogAppendTime"), // one clock, the broker's
	}
	made, err := c.admin.CreateTopic(ctx, int32(s.Partitions), c.settings.replicas, configs, name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		err = c.adopt(ctx, name)
	case err == nil:
		err = c.enter(ctx, name, made.ID, s, time.Now().UTC())
	}
	if err != nil {
		return driver.TopicInfo{}, c.fail("create topic "+name, err)
	}
	return c.Topic(ctx, name)
}

// enter writes a topic that is new to deed into the catalog.
func (c *Conn) enter(
	ctx context.Context, name string, id kadm.TopicID, s driver.TopicSettings, created time.Time,
) error {
	var last topicEntry
	err := c.catalog.read(ctx, func(values map[string][]byte) {
		_ = json.Unmarshal(values["topic/"+name], &last) // there may be none
	})
	if err != nil {
		return err
	}
	return c.catalog.write(ctx, "topic/"+name, topicEntry{
		ID: id.String(), Generation: last.Generation + 1, By: s.PartitionBy, Keep: s.Keep, Hold: s.Hold, Created: created,
	})
}

// adopt waits for the entry of a topic that somebody else creates just now, and makes that
// of a topic which other programs created.
func (c *Conn) adopt(ctx context.Context, name string) error {
	for deadline := time.Now().Add(2 * time.Second); ; {
		t, err := c.look(ctx, name)
		switch {
		case err == nil && t.listed():
			return nil
		case err != nil && !errors.Is(err, driver.ErrNotFound): // not every broker knows of it yet
			return err
		case time.Now().After(deadline):
			if err != nil {
				return err
			}
			keep, err := c.retention(ctx, name)
			if err != nil {
				return err
			}
			return c.enter(ctx, name, t.detail.ID, driver.TopicSettings{PartitionBy: "key", Keep: keep}, time.Time{})
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// retention returns how long Kafka keeps the events of a topic.
func (c *Conn) retention(ctx context.Context, name string) (time.Duration, error) {
	configs, err := c.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return 0, err
	}
	config, err := configs.On(name, nil)
	if err = cmp.Or(err, config.Err); err != nil {
		return 0, err
	}
	for _, x := range config.Configs {
		if ms, err := strconv.ParseInt(x.MaybeValue(), 10, 64); x.Key == "retention.ms" && err == nil && ms > 0 {
			return time.Duration(min(ms, int64(1<<53/1000))) * time.Millisecond, nil
		}
	}
	return driver.DefaultKeep, nil
}

// SetTopic implements [driver.Topics].
func (c *Conn) SetTopic(ctx context.Context, name string, s driver.TopicSettings) error {
	t, err := c.look(ctx, name)
	if err != nil {
		return err
	}
	info := t.info(nil, nil)
	if s, err = c.complete(s); err == nil {
		err = info.TopicSettings.Alter(s)
	}
	if err != nil {
		return c.fail("set topic "+name, err)
	}
	done, err := c.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{
		Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr(strconv.FormatInt(s.Keep.Milliseconds(), 10)),
	}}, name)
	if err == nil {
		_, err = done.On(name, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err == nil {
		entry := t.entry
		entry.ID, entry.Keep, entry.Hold = t.detail.ID.String(), s.Keep, s.Hold
		err = c.catalog.write(ctx, "topic/"+name, entry)
	}
	return c.fail("set topic "+name, err)
}

// DeleteTopic implements [driver.Topics].
func (c *Conn) DeleteTopic(ctx context.Context, name string) error {
	t, err := c.look(ctx, name)
	if err != nil {
		return err
	}
	if !t.listed() { // so that the next of the name has a larger generation
		if err := c.enter(ctx, name, t.detail.ID, t.info(nil, nil).TopicSettings, time.Time{}); err != nil {
			return c.fail("delete topic "+name, err)
		}
	}
	if _, err = c.admin.DeleteTopic(ctx, name); err != nil {
		return c.fail("delete topic "+name, err)
	}
	c.forget(name)
	return c.fail("delete topic "+name, c.forgetGroups(ctx, name))
}
