package deednats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

// letterID is what administration names a record by: where its event was first stored, and
// the topic's number.
func letterID(seq uint64, number int64) int64 { return int64(seq)*maxTopics + number }

// maxListed is how many records List returns when the filter does not say.
const maxListed = 1000

// found is a record with where it is.
type found struct {
	record
	topic *topic
	of    place
}

// find returns the records that are in groups and topics, by ID; "" names all.
func (c *Conn) find(ctx context.Context, group, topic string, is func(*record) bool) ([]found, error) {
	all, err := c.standings(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	var out []found
	for _, s := range all {
		for p := range s.topic.parts {
			err := c.journal(s.topic, s.group, p).look(ctx, func(x *state) error {
				for _, r := range x.side.records {
					if is(r) {
						out = append(out, found{*r, s.topic, place{s.group, p}})
					}
				}
				return nil
			})
			if err != nil && !errors.Is(err, errNoStream) {
				return nil, err
			}
		}
	}
	slices.SortFunc(out, func(a, b found) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// List implements [driver.Letters].
func (c *Conn) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	all, err := c.find(ctx, f.Group, f.Topic, func(r *record) bool {
		return r.ID > f.After && (len(f.IDs) == 0 || slices.Contains(f.IDs, r.ID)) && (f.Key == "" || f.Key == r.Key) &&
			(len(f.States) == 0 || slices.Contains(f.States, r.State))
	})
	if err != nil {
		return nil, c.fail("list letters", err)
	}
	var ls []driver.Letter
	limit := cmp.Or(f.Limit, maxListed)
	for i := range all {
		if len(ls) == limit {
			break
		}
		x := &all[i]
		l, err := c.letter(ctx, x.topic, c.journal(x.topic, x.of.group, x.of.partition), x.of, &x.record)
		if errors.Is(err, errNone) {
			continue // handled meanwhile
		}
		if err != nil {
			return nil, c.fail("list letters", err)
		}
		if (f.Type == "" || f.Type == l.Type) && (f.Since.IsZero() || !l.Failed.Before(f.Since)) {
			ls = append(ls, l)
		}
	}
	return ls, nil
}

// Redrive implements [driver.Letters].
func (c *Conn) Redrive(ctx context.Context, ids []int64) (int, error) {
	n, err := c.eachDead(ctx, ids, opRedrive)
	return n, c.fail("redrive", err)
}

// Discard implements [driver.Letters].
func (c *Conn) Discard(ctx context.Context, ids []int64) (int, error) {
	n, err := c.eachDead(ctx, ids, opDiscard)
	return n, c.fail("discard", err)
}

// eachDead does a step for the dead letters among ids and returns how many there were.
func (c *Conn) eachDead(ctx context.Context, ids []int64, op string) (n int, err error) {
	if err := c.usable(); err != nil {
		return 0, err
	}
	all, err := c.find(ctx, "", "", func(r *record) bool {
		return r.State == driver.Dead && slices.Contains(ids, r.ID)
	})
	if err != nil {
		return 0, err
	}
	journals := make(map[*journal]bool)
	for i := range all {
		journals[c.journal(all[i].topic, all[i].of.group, all[i].of.partition)] = true
	}
	for j := range journals {
		some := 0
		var old [][]uint64
		err := j.step(ctx, func(s *state) (*entry, error) {
			some, old = 0, nil
			for _, r := range s.side.dead(ids) {
				some, old = some+1, append(old, r.Blob)
			}
			if some == 0 {
				return nil, nil
			}
			return &entry{Op: op, IDs: ids}, nil
		})
		if err != nil {
			return n, err
		}
		if n += some; op == opDiscard {
			c.forgetBlobs(ctx, j, old)
		}
	}
	return n, nil
}

// Edit implements [driver.Letters].
func (c *Conn) Edit(ctx context.Context, id int64, e driver.Edit) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.fail(fmt.Sprintf("edit letter %d", id), c.edit(ctx, id, e))
}

func (c *Conn) edit(ctx context.Context, id int64, e driver.Edit) error {
	all, err := c.find(ctx, "", "", func(r *record) bool { return r.ID == id })
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return driver.ErrNotFound
	}
	x := &all[0]
	if x.State != driver.Dead {
		return fmt.Errorf("%w: it is %s (only dead letters are edited)", driver.ErrRefused, x.State)
	}
	j := c.journal(x.topic, x.of.group, x.of.partition)
	l, err := c.letter(ctx, x.topic, j, x.of, &x.record)
	if err != nil {
		return err
	}
	e.At, e.Data, l.Data = c.now(), l.Data, e.Data
	l.Edits = append(l.Edits, e)
	blob, err := c.writeLetter(ctx, j, &l)
	if err != nil {
		return err
	}
	err = j.step(ctx, func(s *state) (*entry, error) {
		for _, r := range s.side.dead([]int64{id}) {
			if slices.Equal(r.Blob, x.Blob) {
				return &entry{Op: opEdit, IDs: []int64{id}, Blob: blob}, nil
			}
		}
		return nil, fmt.Errorf("%w: it was changed meanwhile (look at it again)", driver.ErrRefused)
	})
	if err == nil {
		c.forgetBlobs(ctx, j, [][]uint64{x.Blob})
	}
	return err
}
