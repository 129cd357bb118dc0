package deedmem

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

// maxListed is how many records List returns when the filter does not say.
const maxListed = 1000

// List returns records by ID; see driver.Letters.
func (c *Conn) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	var found []*record
	for _, g := range c.store.groupsOf(f.Group, f.Topic) {
		for _, r := range g.readings {
			for _, rec := range r.side.records {
				if selects(&f, &rec.Letter) {
					found = append(found, rec)
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b *record) int { return cmp.Compare(a.ID, b.ID) })
	return letters(found, cmp.Or(f.Limit, maxListed)), nil
}

// selects reports whether f, but for its group and topic, selects l.
func selects(f *driver.LetterFilter, l *driver.Letter) bool {
	return l.ID > f.After &&
		(len(f.IDs) == 0 || slices.Contains(f.IDs, l.ID)) &&
		(f.Key == "" || f.Key == l.Key) &&
		(f.Type == "" || f.Type == l.Type) &&
		(len(f.States) == 0 || slices.Contains(f.States, l.State)) &&
		(f.Since.IsZero() || !l.Failed.Before(f.Since))
}

// Redrive marks dead letters to be tried again; see driver.Letters.
func (c *Conn) Redrive(ctx context.Context, ids []int64) (int, error) {
	return c.eachDead(ctx, ids, func(_ *sideLog, r *record) {
		r.State, r.Due = driver.Redriven, now()
	})
}

// Discard removes dead letters for good; see driver.Letters.
func (c *Conn) Discard(ctx context.Context, ids []int64) (int, error) {
	return c.eachDead(ctx, ids, func(s *sideLog, r *record) { s.remove(r) })
}

// Edit replaces the data of a dead letter; see driver.Letters.
func (c *Conn) Edit(ctx context.Context, id int64, e driver.Edit) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	r := c.store.recordOf(id)
	if r == nil {
		return fmt.Errorf("mem: letter %d: %w", id, driver.ErrNotFound)
	}
	if r.State != driver.Dead {
		return fmt.Errorf("mem: letter %d of group %q on topic %q is %s (only dead letters are edited): %w",
			id, r.Group, r.Topic, r.State, driver.ErrRefused)
	}
	data := slices.Clone(e.Data)
	e.At, e.Data = now(), r.Data
	r.Data, r.Edits = data, append(r.Edits, e)
	return nil
}

// recordOf finds a record by its ID.
func (s *store) recordOf(id int64) *record {
	for _, g := range s.groupsOf("", "") {
		for _, r := range g.readings {
			for _, rec := range r.side.records {
				if rec.ID == id {
					return rec
				}
			}
		}
	}
	return nil
}

// eachDead calls do for the dead letters among ids and returns how many there were.
func (c *Conn) eachDead(ctx context.Context, ids []int64, do func(*sideLog, *record)) (int, error) {
	if err := c.enter(ctx); err != nil {
		return 0, err
	}
	defer c.store.mu.Unlock()
	wanted := make(map[int64]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	n := 0
	for _, g := range c.store.groupsOf("", "") {
		for _, r := range g.readings {
			for _, rec := range r.side.records {
				if rec.State == driver.Dead && wanted[rec.ID] {
					do(&r.side, rec)
					n++
				}
			}
		}
	}
	return n, nil
}
