package deednats

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// formatVersion is how this version writes topics. A higher one is refused.
const formatVersion = 1

const (
	// maxTopics is what a letter's ID has room for.
	maxTopics = 1 << 20
	// freshness is how long a topic is believed to be as it was: another process may
	// have changed its settings.
	freshness = 5 * time.Second
)

// topic is what a connection knows of a topic without asking again.
type topic struct {
	info   driver.TopicInfo
	life   life
	number int64 // unlike any other topic's
	seen   time.Time

	log, groups string // the streams
	parts       []*partition
	known       *journals
}

// description is what the log's stream says of its topic: as its description, which every
// version of the server keeps. So a topic is there as soon as its stream is.
type description struct {
	Format      int           `json:"deed"`
	Topic       string        `json:"topic"`
	Generation  int           `json:"generation"`
	Incarnation string        `json:"incarnation"`
	Number      int64         `json:"number"`
	Partitions  int           `json:"partitions"`
	PartitionBy string        `json:"partition_by"`
	Dedupe      time.Duration `json:"dedupe,omitempty"`
	Keep        time.Duration `json:"keep"`
	Hold        time.Duration `json:"hold,omitempty"`
	MaxBytes    int64         `json:"max_bytes,omitempty"`
}

func (d *description) take(s driver.TopicSettings) {
	d.Partitions, d.PartitionBy, d.Dedupe, d.Keep, d.Hold = s.Partitions, s.PartitionBy, s.Dedupe, s.Keep, s.Hold
	d.MaxBytes = s.MaxBytes
}

// lifeDoc is what is left of a topic when it is deleted.
type lifeDoc struct {
	Generation int  `json:"generation"` // the last one
	Deleted    bool `json:"deleted,omitempty"`
}

// CreateTopic implements [driver.Topics].
func (c *Conn) CreateTopic(ctx context.Context, name string, s driver.TopicSettings) (driver.TopicInfo, error) {
	what := "create topic " + name
	if err := c.usable(); err != nil {
		return driver.TopicInfo{}, err
	}
	t, err := c.lookup(ctx, name)
	if errors.Is(err, driver.ErrNotFound) {
		t, err = c.create(ctx, name, s)
	}
	if err != nil {
		return driver.TopicInfo{}, c.fail(what, err)
	}
	if err := c.prepare(ctx, t); err != nil { // which whoever made it may have left to do
		return driver.TopicInfo{}, c.fail(what, err)
	}
	info, err := c.describe(ctx, t)
	return info, c.fail(what, err)
}

// complete fills in the defaults and refuses what makes no sense.
func (c *Conn) complete(name string, s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.features)
	switch {
	case err != nil:
		return s, err
	case name == "":
		return s, fmt.Errorf("%w: a topic needs a name", driver.ErrRefused)
	case s.Pack:
		return s, fmt.Errorf("%w: pack is not a setting here: every batch is stored as one message", driver.ErrRefused)
	case s.Streams:
		return s, fmt.Errorf("%w: there are no topics of streams on NATS", driver.ErrRefused)
	case s.Dedupe > 0 && s.Dedupe < minWindow:
		return s, fmt.Errorf("%w: dedupe is %v (want %v or more, or none)", driver.ErrRefused, s.Dedupe, minWindow)
	}
	return s, nil
}

// minWindow is the shortest that JetStream accepts.
const minWindow = 100 * time.Millisecond

// create makes the topic's log, or finds the one that somebody else just made.
func (c *Conn) create(ctx context.Context, name string, s driver.TopicSettings) (*topic, error) {
	s, err := c.complete(name, s)
	if err != nil {
		return nil, err
	}
	if err := c.makeMeta(ctx, false); err != nil { // the server may have lost it
		return nil, err
	}
	d := description{Format: formatVersion, Topic: name, Incarnation: rand.Text()}
	d.take(s)
	if d.Number, err = c.count(ctx); err != nil {
		return nil, err
	}
	_, err = changeDoc(ctx, c, c.names.life(name), func(l *lifeDoc) error {
		l.Generation, l.Deleted = l.Generation+1, false
		d.Generation = l.Generation
		return nil
	})
	if err != nil {
		return nil, err
	}
	config := c.streamConfig(c.names.log(name), c.names.partitions(life{name, d.Generation}))
	if err := describeIn(&config, d); err != nil {
		return nil, err
	}
	within, cancel := c.within(ctx)
	defer cancel()
	if _, err := c.js.CreateStream(within, config); err != nil && code(err) != codeStreamInUse {
		return nil, err
	}
	return c.lookup(ctx, name)
}

// count returns the number of a new topic.
func (c *Conn) count(ctx context.Context) (int64, error) {
	type number struct {
		Last int64 `json:"last"`
	}
	n, err := changeDoc(ctx, c, c.names.number(), func(n *number) error {
		if n.Last++; n.Last >= maxTopics {
			return fmt.Errorf("%w: %d topics were made under the prefix %s, which is all there can be (use another prefix)",
				driver.ErrRefused, n.Last, c.names.prefix)
		}
		return nil
	})
	return n.Last, err
}

// describeIn writes a topic into the configuration of its stream.
func describeIn(config *jetstream.StreamConfig, d description) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	config.Description = string(text)
	config.Duplicates = cmp.Or(d.Dedupe, minWindow) // without a window nothing has an id for it
	return nil
}

// prepare makes the stream of the groups' journals.
func (c *Conn) prepare(ctx context.Context, t *topic) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	s, err := c.js.Stream(ctx, t.groups)
	if code(err) == codeNoStream {
		s, err = c.js.CreateStream(ctx, c.streamConfig(t.groups, c.names.journals(t.life)))
	}
	switch {
	case code(err) == codeStreamInUse: // made by somebody else just now
		return nil
	case err != nil:
		return err
	}
	config := s.CachedInfo().Config
	if want := []string{c.names.journals(t.life)}; !slices.Equal(config.Subjects, want) {
		// Left over from a life of the topic whose deletion was cut short.
		if err := c.js.DeleteStream(ctx, t.groups); err != nil {
			return err
		}
		_, err = c.js.CreateStream(ctx, c.streamConfig(t.groups, want[0]))
		return err
	}
	return c.drift(config, -1)
}

// lookup asks the server about a topic.
func (c *Conn) lookup(ctx context.Context, name string) (*topic, error) {
	within, cancel := c.within(ctx)
	defer cancel()
	s, err := c.js.Stream(within, c.names.log(name))
	if code(err) == codeNoStream {
		return nil, c.missing(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	info := s.CachedInfo()
	t, err := c.parseTopic(info)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.topics[name]; old != nil && old.info.Incarnation == t.info.Incarnation {
		t.parts, t.known = old.parts, old.known
	} else {
		t.known = newJournals()
		for p := range t.info.Partitions {
			t.parts = append(t.parts, &partition{conn: c, life: t.life, number: p})
		}
	}
	c.handles[t.log] = s
	c.topics[name], c.made[name] = t, true
	return t, nil
}

// parseTopic reads what describeIn wrote.
func (c *Conn) parseTopic(info *jetstream.StreamInfo) (*topic, error) {
	var d description
	if err := json.Unmarshal([]byte(info.Config.Description), &d); err != nil {
		return nil, fmt.Errorf("%w: the description of the JetStream stream %s cannot be read: %w",
			driver.ErrRefused, info.Config.Name, err)
	}
	if d.Format != formatVersion {
		return nil, fmt.Errorf("%w: topic %s is stored in format %d, this version knows %d (update deed)",
			driver.ErrRefused, d.Topic, d.Format, formatVersion)
	}
	if err := c.drift(info.Config, -1); err != nil {
		return nil, err
	}
	return &topic{
		life: life{d.Topic, d.Generation}, number: d.Number, seen: time.Now(),
		log: c.names.log(d.Topic), groups: c.names.groups(d.Topic),
		info: driver.TopicInfo{
			Name: d.Topic, Generation: d.Generation, Incarnation: d.Incarnation, Created: info.Created.UTC(),
			TopicSettings: driver.TopicSettings{
				Partitions: d.Partitions, PartitionBy: d.PartitionBy, Dedupe: d.Dedupe, Keep: d.Keep, Hold: d.Hold,
				MaxBytes: d.MaxBytes,
			},
		},
	}, nil
}

// missing is what a topic without a stream is: one that was deleted, or never there, or
// lost.
func (c *Conn) missing(ctx context.Context, name string) error {
	c.mu.Lock()
	made := c.made[name]
	delete(c.topics, name)
	delete(c.handles, c.names.log(name))
	delete(c.handles, c.names.groups(name))
	c.mu.Unlock()
	if made {
		l, _, err := readDoc[lifeDoc](ctx, c, c.names.life(name))
		switch {
		case errors.Is(err, errNone), code(err) == codeNoStream, err == nil && !l.Deleted:
			return fmt.Errorf("%w: topic %s", errLost, name)
		case err != nil:
			return err
		}
		c.mu.Lock()
		delete(c.made, name)
		c.mu.Unlock()
	}
	return fmt.Errorf("%w: topic %s", driver.ErrNotFound, name)
}

// topic returns a topic as it was when last looked at.
func (c *Conn) topic(ctx context.Context, name string) (*topic, error) {
	c.mu.Lock()
	t := c.topics[name]
	c.mu.Unlock()
	if t != nil && time.Since(t.seen) < freshness {
		return t, nil
	}
	return c.lookup(ctx, name)
}

// Topic implements [driver.Topics].
func (c *Conn) Topic(ctx context.Context, name string) (driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return driver.TopicInfo{}, err
	}
	t, err := c.lookup(ctx, name)
	if err != nil {
		return driver.TopicInfo{}, c.fail("describe topic "+name, err)
	}
	info, err := c.describe(ctx, t)
	return info, c.fail("describe topic "+name, err)
}

// describe adds up what the partitions hold.
func (c *Conn) describe(ctx context.Context, t *topic) (driver.TopicInfo, error) {
	info := t.info
	stands, err := c.stands(ctx, t)
	for _, s := range stands {
		info.Events += s.end.last - s.base.Position
		info.Bytes += s.end.bytes - s.base.Bytes
	}
	return info, err
}

// Topics implements [driver.Topics].
func (c *Conn) Topics(ctx context.Context) ([]driver.TopicInfo, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	names, err := c.topicNames(ctx)
	if err != nil {
		return nil, c.fail("list topics", err)
	}
	return driverkit.Describe(ctx, c, names)
}

// topicNames returns the names of all topics, sorted.
func (c *Conn) topicNames(ctx context.Context) ([]string, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	var names []string
	list := c.js.StreamNames(ctx)
	for stream := range list.Name() {
		if rest, ok := strings.CutPrefix(stream, c.names.streamOf("log-")); ok {
			if name, err := text(rest); err == nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, list.Err()
}
