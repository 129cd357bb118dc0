package driverkit

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/deedgo/deed/driver"
)

// SetMarks implements [driver.SideLog].
func (c *stateful) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	c.marked.Store(markedBy(c.inState(cl)), true)
	return c.book.SetMarks(ctx, cl, ms)
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

// List implements [driver.Letters]. The records of one topic are in as many of the state's
// as it has partitions.
func (c *stateful) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if f.Topic == "" {
		return c.book.List(ctx, f)
	}
	f.Limit = cmp.Or(f.Limit, 1000)
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
