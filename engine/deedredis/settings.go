package deedredis

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/deedgo/deed/driver"
)

// complete fills in the defaults and refuses what makes no sense.
func (c *Conn) complete(name string, s driver.TopicSettings) (driver.TopicSettings, error) {
	s, err := s.Complete(c.Features())
	switch {
	case err != nil:
	case name == "":
		err = fmt.Errorf("%w: a topic needs a name", driver.ErrRefused)
	case s.Partitions > maxPartitions:
		err = fmt.Errorf("%w: %d partitions (want 1 to %d)", driver.ErrRefused, s.Partitions, maxPartitions)
	case s.Dedupe > 0 && c.forgets != "":
		err = fmt.Errorf("%w: dedupe %v cannot be kept, for the server forgets ids when its memory is full: "+
			"maxmemory-policy is %s (set it to noeviction)", driver.ErrRefused, s.Dedupe, c.forgets)
	}
	return s, err
}

// fields writes settings as pairs of a hash.
func fields(s driver.TopicSettings) []string {
	return []string{
		"partitions", strconv.Itoa(s.Partitions), "partition_by", s.PartitionBy, "dedupe", s.Dedupe.String(),
		"keep", s.Keep.String(), "hold", s.Hold.String(), "max_bytes", strconv.FormatInt(s.MaxBytes, 10),
		"pack", flag(s.Pack), "streams", flag(s.Streams),
	}
}

// parseTopic reads a topic's record.
func (k keys) parseTopic(name string, record map[string]string) (*topic, error) {
	var errs []error
	integer := func(field string) int64 {
		n, err := strconv.ParseInt(record[field], 10, 64)
		errs = append(errs, err)
		return n
	}
	duration := func(field string) time.Duration {
		d, err := time.ParseDuration(record[field])
		errs = append(errs, err)
		return d
	}
	if format := record["format"]; format != strconv.Itoa(formatVersion) {
		return nil, fmt.Errorf("%w: topic %s is stored in format %q, this version knows %d (update deed)",
			driver.ErrRefused, name, format, formatVersion)
	}
	t := &topic{number: integer("number"), ready: record["ready"] == "1", seen: time.Now()}
	t.before, _ = strconv.Atoi(record["before"])
	t.info = driver.TopicInfo{
		Name: name, Generation: int(integer("generation")), Incarnation: record["incarnation"],
		Created: time.Unix(0, integer("created")).UTC(),
		TopicSettings: driver.TopicSettings{
			Partitions: int(integer("partitions")), PartitionBy: record["partition_by"], Dedupe: duration("dedupe"),
			Keep: duration("keep"), Hold: duration("hold"), MaxBytes: cmp.Or(integer("max_bytes"), driver.NoBound),
			Pack: record["pack"] == "1", Streams: record["streams"] == "1",
		},
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: the record of topic %s cannot be read: %w", driver.ErrRefused, name, err)
	}
	for p := range t.info.Partitions {
		t.keys = append(t.keys, k.partition(name, p))
	}
	return t, nil
}

// windowMillis is an id window as the scripts have it: in milliseconds, rounded up.
func windowMillis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }
