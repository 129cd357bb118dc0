package deedmem

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// claimed locks the store and returns what claim c is to. The caller unlocks it
// unless there is an error.
func (c *Conn) claimed(ctx context.Context, cl driver.Claim) (*reading, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	g, err := c.store.groupNamed(cl.Group, cl.Topic)
	if err == nil && (cl.Partition < 0 || cl.Partition >= len(g.readings)) {
		err = fmt.Errorf("mem: topic %q has no partition %d: %w", cl.Topic, cl.Partition, driver.ErrRefused)
	}
	if err == nil && g.readings[cl.Partition].epoch != cl.Epoch {
		err = fmt.Errorf("mem: group %q on topic %q partition %d: epoch %d is over: %w",
			cl.Group, cl.Topic, cl.Partition, cl.Epoch, driver.ErrFenced)
	}
	if err != nil {
		c.store.mu.Unlock()
		return nil, err
	}
	return g.readings[cl.Partition], nil
}

// Park adds or replaces records; see driver.SideLog.
func (c *Conn) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	records := make([]*record, len(ps))
	for i := range ps {
		pos, err := driverkit.ParsePosition(ps[i].Position)
		if err == nil && pos == 0 {
			err = fmt.Errorf("mem: park event %s without a position: %w", ps[i].Message.ID, driver.ErrRefused)
		}
		if err != nil {
			return err
		}
		r := &record{Letter: ps[i].Letter, spot: spot{pos, ps[i].Run}}
		r.Group, r.Topic, r.Partition = cl.Group, cl.Topic, cl.Partition
		r.Data, r.Edits = slices.Clone(r.Data), copyEdits(r.Edits)
		records[i] = r
	}
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	at := now()
	for i, rec := range records {
		rec.Due = at.Add(ps[i].After)
		r.side.put(rec, func() int64 { c.store.letters++; return c.store.letters })
	}
	return nil
}

// Unpark removes records that were handled; see driver.SideLog.
func (c *Conn) Unpark(ctx context.Context, cl driver.Claim, positions []string) (empty []string, err error) {
	at := make([]int64, len(positions))
	for i, pos := range positions {
		if at[i], err = driverkit.ParsePosition(pos); err != nil {
			return nil, err
		}
	}
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	for _, pos := range at {
		rec := r.side.handled(pos, cl.Run)
		if rec != nil && r.side.remove(rec) {
			empty = append(empty, rec.Key)
		}
	}
	return empty, nil
}

// Due returns what may be tried now; see driver.SideLog.
func (c *Conn) Due(ctx context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	return letters(r.side.due(now()), limit), nil
}

// letters copies at most limit records out of the store.
func letters(rs []*record, limit int) []driver.Letter {
	rs = rs[:min(len(rs), max(limit, 0))]
	ls := make([]driver.Letter, len(rs))
	for i, r := range rs {
		ls[i] = r.Letter
		ls[i].Data = slices.Clone(r.Data)
		ls[i].Edits = copyEdits(r.Edits)
	}
	return ls
}

func copyEdits(es []driver.Edit) []driver.Edit {
	es = slices.Clone(es)
	for i := range es {
		es[i].Data = slices.Clone(es[i].Data)
	}
	return es
}

// Chain returns the first records of a key in order.
func (c *Conn) Chain(ctx context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	return letters(r.side.chains[key], limit), nil
}

// ParkedKeys returns keys that hold events back.
func (c *Conn) ParkedKeys(ctx context.Context, cl driver.Claim, limit int) ([]string, error) {
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	keys := slices.Sorted(maps.Keys(r.side.chains))
	return keys[:min(len(keys), max(limit, 0))], nil
}

// SetMarks stores marks by position; see driver.SideLog.
func (c *Conn) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	at := make([]int64, len(ms))
	for i, m := range ms {
		var err error
		if at[i], err = driverkit.ParsePosition(m.Position); err != nil {
			return err
		}
	}
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	for i, m := range ms {
		switch {
		case m.Attempts == 0 && m.Crashes == 0:
			delete(r.marks, at[i])
		case r.marks == nil:
			r.marks = map[int64]driver.Mark{at[i]: m}
		default:
			r.marks[at[i]] = m
		}
	}
	return nil
}

// Marks returns all marks above the claim's position, in order.
func (c *Conn) Marks(ctx context.Context, cl driver.Claim) ([]driver.Mark, error) {
	after, err := driverkit.ParsePosition(cl.Position)
	if err != nil {
		return nil, err
	}
	r, err := c.claimed(ctx, cl)
	if err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	var ms []driver.Mark
	for _, pos := range slices.Sorted(maps.Keys(r.marks)) {
		if pos > after {
			ms = append(ms, r.marks[pos])
		}
	}
	return ms, nil
}
