package driverkit

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/deedgo/deed/driver"
)

// inState is a claim as the state knows it.
func (c *stateful) inState(cl driver.Claim) driver.Claim {
	cl.Topic, cl.Partition = c.shadow(cl.Topic, cl.Partition), 0
	return cl
}

// inLog names the log's topics in records of the state, and leaves out those of others.
func (c *stateful) inLog(ls []driver.Letter) []driver.Letter {
	out := ls[:0]
	for _, l := range ls {
		if topic, p, ok := c.shadowed(l.Topic); ok {
			l.Topic, l.Partition = topic, p
			out = append(out, l)
		}
	}
	return out
}

// Park implements [driver.SideLog].
func (c *stateful) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	renamed := slices.Clone(ps)
	at := c.inState(cl)
	for i := range renamed {
		renamed[i].Letter.Topic, renamed[i].Partition = at.Topic, at.Partition
	}
	return c.side.Park(ctx, at, renamed)
}

// Unpark implements [driver.SideLog].
func (c *stateful) Unpark(ctx context.Context, cl driver.Claim, positions []string) ([]string, error) {
	return c.side.Unpark(ctx, c.inState(cl), positions)
}

// Due implements [driver.SideLog].
func (c *stateful) Due(ctx context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	ls, err := c.side.Due(ctx, c.inState(cl), limit)
	return c.inLog(ls), err
}

// Chain implements [driver.SideLog].
func (c *stateful) Chain(ctx context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	ls, err := c.side.Chain(ctx, c.inState(cl), key, limit)
	return c.inLog(ls), err
}

// ParkedKeys implements [driver.SideLog].
func (c *stateful) ParkedKeys(ctx context.Context, cl driver.Claim, limit int) ([]string, error) {
	return c.side.ParkedKeys(ctx, c.inState(cl), limit)
}

// SetMarks implements [driver.SideLog].
func (c *stateful) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	c.marked.Store(markedBy(c.inState(cl)), true)
	return c.side.SetMarks(ctx, c.inState(cl), ms)
}

// markedBy is what claims are told apart by.
func markedBy(cl driver.Claim) driver.Claim {
	return driver.Claim{Group: cl.Group, Topic: cl.Topic, Epoch: cl.Epoch}
}

// unmark removes the marks at or below a position that the log has stored.
func (c *stateful) unmark(ctx context.Context, cl driver.Claim, position string) error {
	at := c.inState(cl)
	if _, ok := c.marked.Load(markedBy(at)); !ok {
		return nil
	}
	at.Position = ""
	ms, err := c.side.Marks(ctx, at)
	if err != nil {
		return err
	}
	var passed []driver.Mark
	for _, m := range ms {
		if !above(m.Position, position) {
			passed = append(passed, driver.Mark{Position: m.Position})
		}
	}
	if len(passed) > 0 {
		err = c.side.SetMarks(ctx, at, passed)
	}
	if err == nil && len(passed) == len(ms) {
		c.marked.Delete(markedBy(at))
	}
	return err
}

// Marks implements [driver.SideLog].
func (c *stateful) Marks(ctx context.Context, cl driver.Claim) ([]driver.Mark, error) {
	return c.side.Marks(ctx, c.inState(cl))
}

// List implements [driver.Letters].
func (c *stateful) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	limit := cmp.Or(f.Limit, 1000)
	f.Limit = limit
	if f.Topic != "" {
		return c.listTopic(ctx, f)
	}
	var out []driver.Letter
	for {
		ls, err := c.letters.List(ctx, f)
		if err != nil {
			return nil, err
		}
		full := len(ls) == limit
		if full {
			f.After = ls[limit-1].ID
		}
		if out = append(out, c.inLog(ls)...); len(out) >= limit || !full {
			return out[:min(len(out), limit)], nil
		}
	}
}

// listTopic lists the records of one topic, which are in as many of the state's as it has
// partitions.
func (c *stateful) listTopic(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	info, err := c.Topic(ctx, f.Topic)
	if err != nil {
		return nil, err
	}
	var out []driver.Letter
	for p := range info.Partitions {
		part := f
		part.Topic = c.shadow(f.Topic, p)
		ls, err := c.letters.List(ctx, part)
		if err != nil && !errors.Is(err, driver.ErrNotFound) {
			return nil, err
		}
		out = append(out, c.inLog(ls)...)
	}
	slices.SortFunc(out, func(a, b driver.Letter) int { return cmp.Compare(a.ID, b.ID) })
	return out[:min(len(out), f.Limit)], nil
}

// Redrive implements [driver.Letters].
func (c *stateful) Redrive(ctx context.Context, ids []int64) (int, error) {
	return c.letters.Redrive(ctx, ids)
}

// Discard implements [driver.Letters].
func (c *stateful) Discard(ctx context.Context, ids []int64) (int, error) {
	return c.letters.Discard(ctx, ids)
}

// Edit implements [driver.Letters].
func (c *stateful) Edit(ctx context.Context, id int64, e driver.Edit) error {
	return c.letters.Edit(ctx, id, e)
}
