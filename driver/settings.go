package driver

import (
	"cmp"
	"fmt"
	"time"
)

// TopicSettings are fixed for a generation of a topic, but for Dedupe, Keep, Hold and
// MaxBytes.
type TopicSettings struct {
	Partitions  int           // 0 means DefaultPartitions
	PartitionBy string        // "key" (also "") or "type"
	Dedupe      time.Duration // id window by (source, id), of each partition; 0 means none
	Keep        time.Duration // nothing younger is removed; 0 means DefaultKeep, with Streams for ever
	Hold        time.Duration // how long a slow group holds events; 0 means for ever
	MaxBytes    int64         // of data stored; above it publishing is ErrFull; 0 means Features.MaxTopicBytes
	Pack        bool          // a batch may be stored as one entry; needs Features.Pack
	// Streams makes it a topic of streams, see [Streams]: all that is in it was appended
	// to one, and Publish is refused with [ErrStreams]. It needs Features.Streams.
	Streams bool
}

// Defaults of TopicSettings.
const (
	DefaultPartitions = 16
	DefaultKeep       = 7 * 24 * time.Hour
)

// NoBound is TopicSettings.MaxBytes of a topic that stores whatever there is room for.
const NoBound = -1

// Complete fills in the defaults of an engine with these features, and is ErrRefused for
// settings that no engine keeps.
func (s TopicSettings) Complete(f Features) (TopicSettings, error) {
	s.MaxBytes = cmp.Or(s.MaxBytes, f.MaxTopicBytes)
	s.Partitions = cmp.Or(s.Partitions, DefaultPartitions)
	s.PartitionBy = cmp.Or(s.PartitionBy, "key")
	switch {
	case s.Partitions < 0:
		return s, fmt.Errorf("%w: %d partitions (want 1 or more)", ErrRefused, s.Partitions)
	case s.PartitionBy != "key" && s.PartitionBy != "type":
		return s, fmt.Errorf("%w: partition by %q (want key or type)", ErrRefused, s.PartitionBy)
	case s.Dedupe < 0 || s.Keep < 0 || s.Hold < 0 || s.MaxBytes < NoBound:
		return s, fmt.Errorf("%w: dedupe %v, keep %v, hold %v, max bytes %d (want 0 or more)",
			ErrRefused, s.Dedupe, s.Keep, s.Hold, s.MaxBytes)
	case s.Pack && s.Dedupe > 0:
		return s, fmt.Errorf("%w: pack and dedupe exclude each other: an event that came before cannot be left out of a pack",
			ErrRefused)
	case s.Streams && s.PartitionBy == "type":
		return s, fmt.Errorf("%w: a topic of streams is partitioned by key", ErrRefused)
	case s.Streams && (s.Keep > 0 || s.Hold > 0):
		return s, fmt.Errorf("%w: keep %v, hold %v: a topic of streams keeps its events for ever", ErrRefused, s.Keep, s.Hold)
	case s.Streams && (s.Dedupe > 0 || s.Pack):
		return s, fmt.Errorf("%w: dedupe %v, pack %v: in a topic of streams each event has a version of its own",
			ErrRefused, s.Dedupe, s.Pack)
	case !s.Streams:
		s.Keep = cmp.Or(s.Keep, DefaultKeep)
	}
	return s, nil
}

// Alter is ErrRefused when settings differ in what is fixed for a generation.
func (s TopicSettings) Alter(to TopicSettings) error {
	if s.Partitions == to.Partitions && s.PartitionBy == to.PartitionBy && s.Pack == to.Pack && s.Streams == to.Streams {
		return nil
	}
	return fmt.Errorf("%w: it has %d partitions by %s, pack is %v and streams %v, which stay until it is created anew",
		ErrRefused, s.Partitions, s.PartitionBy, s.Pack, s.Streams)
}
