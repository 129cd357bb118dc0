package deedmem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/deedgo/deed/driver"
)

// Record returns one; see driver.Records.
func (c *Conn) Record(ctx context.Context, name string) (driver.Record, error) {
	if err := c.enter(ctx); err != nil {
		return driver.Record{}, err
	}
	defer c.store.mu.Unlock()
	r, ok := c.store.records[name]
	if !ok {
		return r, fmt.Errorf("mem: record %q: %w", name, driver.ErrNotFound)
	}
	return copied(r), nil
}

// Records lists some; see driver.Records.
func (c *Conn) Records(ctx context.Context, prefix, after string, limit int) ([]driver.Record, error) {
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	defer c.store.mu.Unlock()
	var out []driver.Record
	for _, name := range slices.Sorted(maps.Keys(c.store.records)) {
		if len(out) < limit && name > after && strings.HasPrefix(name, prefix) {
			out = append(out, copied(c.store.records[name]))
		}
	}
	return out, nil
}

// PutRecord replaces one; see driver.Records.
func (c *Conn) PutRecord(ctx context.Context, r driver.Record) (version int64, err error) {
	if err := r.Check(); err != nil {
		return 0, fmt.Errorf("mem: put record %q: %w", r.Name, err)
	}
	if err := c.enter(ctx); err != nil {
		return 0, err
	}
	defer c.store.mu.Unlock()
	if err := c.store.at(r.Name, r.Version); err != nil {
		return 0, err
	}
	c.store.record++
	r.Version = c.store.record
	c.store.records[r.Name] = copied(r)
	return r.Version, nil
}

// DeleteRecord removes one; see driver.Records.
func (c *Conn) DeleteRecord(ctx context.Context, name string, version int64) error {
	if err := c.enter(ctx); err != nil {
		return err
	}
	defer c.store.mu.Unlock()
	if err := c.store.at(name, version); err != nil {
		return err
	}
	delete(c.store.records, name)
	return nil
}

// at is a conflict unless the record is at the version.
func (s *store) at(name string, version int64) error {
	if there := s.records[name].Version; there != version {
		return fmt.Errorf("mem: record %q, which was thought to be at version %d: %w",
			name, version, &driver.ConflictError{Version: there})
	}
	return nil
}

func copied(r driver.Record) driver.Record {
	r.Data = slices.Clone(r.Data)
	return r
}
