package deedredis

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed/driver"
)

// A letter's ID says where it is: its number in the partition, the topic's number and
// the partition. So it is found without an index that would have to be kept in step
// with every partition.
func letterID(number, topic int64, partition int) int64 {
	return (number*maxTopics+topic)*maxPartitions + int64(partition)
}

// splitID is the opposite of letterID.
func splitID(id int64) (number, topic int64, partition int) {
	return id / maxPartitions / maxTopics, id / maxPartitions % maxTopics, int(id % maxPartitions)
}

const (
	maxListed = 1000 // how many records List returns when the filter does not say
	listPage  = 256  // how many one script looks at
)

// List implements [driver.Letters].
func (c *Conn) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	all, err := c.standings(ctx, f.Group, f.Topic)
	if err != nil {
		return nil, c.fail("list letters", err)
	}
	limit := cmp.Or(f.Limit, maxListed)
	var found []driver.Letter
	for _, s := range all {
		for p := range s.topic.info.Partitions {
			ls, err := c.listPartition(ctx, s, p, f, limit)
			if err != nil {
				return nil, c.fail("list letters", err)
			}
			found = append(found, ls...)
		}
	}
	slices.SortFunc(found, func(a, b driver.Letter) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(len(found), limit)], nil
}

// listPartition returns at most limit of a claim's records that f selects.
func (c *Conn) listPartition(
	ctx context.Context, s standing, p int, f driver.LetterFilter, limit int,
) ([]driver.Letter, error) {
	names := make([]string, len(f.States))
	for i, state := range f.States {
		names[i] = string(state)
	}
	// The first number whose ID here is above After, less one.
	after, topic, partition := splitID(f.After)
	if f.After > 0 && (topic < s.topic.number || topic == s.topic.number && partition < p) {
		after--
	}
	var found []driver.Letter
	for from := strconv.FormatInt(max(after, 0), 10); from != "" && len(found) < limit; {
		m, err := c.run(ctx, listScript, []string{s.topic.keys[p][0] + ":group:" + s.group},
			from, strconv.Itoa(listPage), strings.Join(names, ","))
		if err != nil {
			return nil, err
		}
		answer, err := m.ToArray()
		if err != nil {
			return nil, err
		}
		from, _ = answer[0].ToString()
		for i := range answer[1:] {
			l, err := parseLetter(&answer[1+i], s.topic, s.group, p)
			if err != nil {
				return nil, err
			}
			if selects(&f, &l) && len(found) < limit {
				found = append(found, l)
			}
		}
	}
	return found, nil
}

// selects reports whether f, but for its group, topic and states, selects l.
func selects(f *driver.LetterFilter, l *driver.Letter) bool {
	return l.ID > f.After &&
		(len(f.IDs) == 0 || slices.Contains(f.IDs, l.ID)) &&
		(f.Key == "" || f.Key == l.Key) &&
		(f.Type == "" || f.Type == l.Type) &&
		(f.Since.IsZero() || !l.Failed.Before(f.Since))
}

// Redrive implements [driver.Letters].
func (c *Conn) Redrive(ctx context.Context, ids []int64) (int, error) {
	n, err := c.dead(ctx, "redrive", ids)
	return n, c.fail("redrive", err)
}

// Discard implements [driver.Letters].
func (c *Conn) Discard(ctx context.Context, ids []int64) (int, error) {
	n, err := c.dead(ctx, "discard", ids)
	return n, c.fail("discard", err)
}

// dead runs dead.lua where the letters are.
func (c *Conn) dead(ctx context.Context, what string, ids []int64) (n int, err error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	byNumber, err := c.topicsByNumber(ctx)
	if err != nil {
		return 0, err
	}
	byLog := make(map[string][]string)
	for _, id := range ids {
		number, topic, p := splitID(id)
		if t := byNumber[topic]; t != nil && p < t.info.Partitions {
			log := t.keys[p][0]
			byLog[log] = append(byLog[log], strconv.FormatInt(number, 10))
		}
	}
	calls := make([]call, 0, len(byLog))
	for log, numbers := range byLog {
		calls = append(calls, call{deadScript, []string{log}, append([]string{what}, numbers...)})
	}
	for _, r := range c.runAll(ctx, calls) {
		k, err := r.AsInt64()
		if err != nil {
			return n, err
		}
		n += int(k)
	}
	return n, nil
}

// topicsByNumber returns all topics.
func (c *Conn) topicsByNumber(ctx context.Context) (map[int64]*topic, error) {
	names, err := c.names(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[int64]*topic, len(names))
	for _, name := range names {
		if t, err := c.known(ctx, name); err == nil {
			all[t.number] = t
		}
	}
	return all, nil
}

// Edit implements [driver.Letters].
func (c *Conn) Edit(ctx context.Context, id int64, e driver.Edit) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail(fmt.Sprintf("edit letter %d", id), c.edit(ctx, id, e))
}

func (c *Conn) edit(ctx context.Context, id int64, e driver.Edit) error {
	_, number, p := splitID(id)
	byNumber, err := c.topicsByNumber(ctx)
	if err != nil {
		return err
	}
	t := byNumber[number]
	if t == nil {
		return driver.ErrNotFound
	}
	found, err := c.List(ctx, driver.LetterFilter{Topic: t.info.Name, IDs: []int64{id}, After: id - 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return driver.ErrNotFound
	}
	l := found[0]
	at, err := parsePosition(l.Position)
	if err != nil {
		return err
	}
	data := e.Data
	e.At, e.Data = time.Now().UTC(), l.Data
	edits, err := json.Marshal(append(l.Edits, e))
	if err != nil {
		return err
	}
	m, err := c.run(ctx, editScript, []string{c.keys.claim(l.Topic, p, l.Group)},
		spot(l.Run, at), string(l.Data), string(data), string(edits))
	if err != nil {
		return err
	}
	switch word, _ := m.ToString(); word {
	case "ok":
		return nil
	case "absent":
		return driver.ErrNotFound
	case "changed":
		return fmt.Errorf("%w: somebody else edited it meanwhile (look at it again)", driver.ErrNotStored)
	default:
		return fmt.Errorf("%w: it is %s (only dead letters are edited)", driver.ErrRefused, word)
	}
}

func sortByPosition(ms []driver.Mark) {
	slices.SortFunc(ms, func(a, b driver.Mark) int {
		x, _ := parsePosition(a.Position)
		y, _ := parsePosition(b.Position)
		return x.compare(y)
	})
}
