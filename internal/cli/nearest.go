package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// nearest returns the name that was probably meant, or "" when none is near: one
// with few differences, or one that was not typed to its end.
func nearest(name string, names []string) string {
	best, least := "", max(len(name)/2, 2)+1
	for _, n := range names {
		d := distance(strings.ToLower(name), strings.ToLower(n))
		if len(name) > 1 && strings.HasPrefix(n, name) {
			d = 1
		}
		if d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// absent is the error for a name that does not exist. It wraps ErrNotFound.
func absent(what, name string, names []string) error {
	way := ""
	switch near := nearest(name, names); {
	case near != "":
		way = fmt.Sprintf("did you mean %q?", near)
	case len(names) == 0:
		way = fmt.Sprintf("there is no %s yet", what)
	case len(names) <= 10:
		way = "there are " + strings.Join(names, ", ")
	default:
		way = fmt.Sprintf("there are %s others; deed %ss ls lists them", comma(int64(len(names))), what)
	}
	return fmt.Errorf("%s %q: %w (%s)", what, name, driver.ErrNotFound, way)
}

// topicInfo describes a topic that has to exist; the error names the nearest.
func topicInfo(ctx context.Context, b *deed.Bus, name string) (driver.TopicInfo, error) {
	if err := deed.CheckName("topic", name); err != nil {
		return driver.TopicInfo{}, usageError{err.Error()}
	}
	topics, err := topicsOf(b)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	info, err := topics.Topic(ctx, name)
	if err == nil || !isNotFound(err) {
		return info, err
	}
	all, err := topics.Topics(ctx)
	if err != nil {
		return driver.TopicInfo{}, err
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	return driver.TopicInfo{}, absent("topic", name, names)
}

// declare returns a topic as it is, so that a command never disagrees with the
// settings it was created with. What the engine keeps by itself is not asked of it.
func declare(b *deed.Bus, info driver.TopicInfo) *deed.Topic {
	o := &deed.TopicOptions{
		Partitions: info.Partitions, PartitionBy: info.PartitionBy, Dedupe: info.Dedupe, Pack: info.Pack,
	}
	if b.Features().Retention {
		o.Keep, o.Hold, o.MaxBytes = info.Keep, info.Hold, info.MaxBytes
	}
	return deed.NewTopic(info.Name, o)
}

func topicsOf(b *deed.Bus) (driver.Topics, error) {
	t, ok := driver.As[driver.Topics](b.Conn())
	if !ok {
		return nil, lacks(b, "cannot describe its topics")
	}
	return t, nil
}

func groupsOf(b *deed.Bus) (driver.Groups, error) {
	g, ok := driver.As[driver.Groups](b.Conn())
	if !ok {
		return nil, lacks(b, "cannot tell about groups")
	}
	return g, nil
}
