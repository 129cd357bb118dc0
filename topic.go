package deed

import (
	"fmt"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// Topic names a log of events and says how it is created. It is a value without a
// connection: the same Topic works on every bus.
type Topic struct {
	name    string
	opts    TopicOptions
	pattern bool // name stands for all topics that it matches
}

// TopicOptions are settings that a topic is created with. They hold for the
// topic's whole generation; a program that declares others than the topic has is
// told so when it starts. The zero value is the default.
type TopicOptions struct {
	// Partitions is how many members of a group can share the topic. Zero means 16.
	Partitions int
	// PartitionBy is ByKey, also when empty, or ByType.
	PartitionBy string
	// Dedupe is the id window: publishing the same (source, id) again within it
	// stores once. Zero means no window.
	Dedupe time.Duration
	// Keep is how long events stay at least. Zero means 7 days.
	Keep time.Duration
	// Hold is how long events wait for a slow group. Zero means for ever.
	Hold time.Duration
	// MaxBytes bounds the data that the topic stores. Above it Publish fails and
	// names the group that holds events back. Zero means the engine's default, which is
	// 1 GiB on Redis and no bound elsewhere; NoBound asks for none.
	MaxBytes int64
	// Pack stores events that are published together as one entry, where the engine has
	// entries that cost it something each: several times as fast on Redis, and harder to
	// read without deed. It excludes Dedupe.
	Pack bool
}

// Values of TopicOptions.PartitionBy: order is kept per key, or per type.
const (
	ByKey  = "key"
	ByType = "type"
)

// NoBound is TopicOptions.MaxBytes of a topic that stores whatever there is room for.
const NoBound = driver.NoBound

// NewTopic declares a topic. A nil opts means defaults.
func NewTopic(name string, opts *TopicOptions) *Topic {
	t := &Topic{name: name}
	if opts != nil {
		t.opts = *opts
	}
	return t
}

// NewPattern stands for all topics whose names match, those of the future too: each "*"
// is any characters, so that "sensors.*" matches sensors.kitchen and
// sensors.kitchen.oven. Handlers of a pattern, and of types declared on it, get the
// events of all these topics, on engines with Features.Patterns. To publish, name the
// topic with [Draft.To].
func NewPattern(pattern string) *Topic { return &Topic{name: pattern, pattern: true} }

// Name returns the topic's name, or the pattern.
func (t *Topic) Name() string { return t.name }

// Options returns the settings that the topic was declared with.
func (t *Topic) Options() TopicOptions { return t.opts }

func (t *Topic) settings() driver.TopicSettings {
	return driver.TopicSettings{
		Partitions: t.opts.Partitions, PartitionBy: t.opts.PartitionBy,
		Dedupe: t.opts.Dedupe, Keep: t.opts.Keep, Hold: t.opts.Hold, MaxBytes: t.opts.MaxBytes,
		Pack: t.opts.Pack,
	}
}

func (t *Topic) validate() error {
	if t.pattern {
		if !strings.Contains(t.name, "*") {
			return fmt.Errorf("pattern %s: it has no * (use NewTopic)", t.name)
		}
		return checkName("pattern", t.name, "*")
	}
	if err := CheckName("topic", t.name); err != nil {
		return err
	}
	if t.opts.Partitions < 0 || t.opts.Partitions > maxPartitions {
		return fmt.Errorf("topic %s: %d partitions (want 1 to %d, or 0 for %d)",
			t.name, t.opts.Partitions, maxPartitions, driver.DefaultPartitions)
	}
	switch t.opts.PartitionBy {
	case "", ByKey, ByType:
	default:
		return fmt.Errorf("topic %s: PartitionBy is %q (want %q or %q)", t.name, t.opts.PartitionBy, ByKey, ByType)
	}
	return nil
}

const (
	maxPartitions = 1024
	maxNameBytes  = 200
)

// CheckName reports whether name may name a topic or group: 1 to 200 letters,
// digits and "._-" that do not start with a dot or dash, so that every engine and
// shell takes it as it is. What is the kind of thing named, for the message.
func CheckName(what, name string) error { return checkName(what, name, "") }

// checkName is CheckName for names that may have other characters, too.
func checkName(what, name, others string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("%s name has %d bytes (want 1 to %d)", what, len(name), maxNameBytes)
	}
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case (c == '.' || c == '-') && i > 0:
		case strings.IndexByte(others, c) >= 0:
		default:
			return fmt.Errorf("%s name %q: byte %d is %q (want letters, digits, and . %s inside)",
				what, name, i+1, c, strings.TrimSpace("_ - "+others))
		}
	}
	return nil
}
