package deednats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// A record is the last message under its subject, and its version the message's sequence
// number, which never comes twice. One that is deleted is followed by a message that says
// so, which is then removed.

const deletedHeader = "Deed-Deleted"

// Record implements [driver.Records].
func (c *Conn) Record(ctx context.Context, name string) (driver.Record, error) {
	if err := c.usable(); err != nil {
		return driver.Record{}, err
	}
	r, _, err := c.readRecord(ctx, name)
	return r, c.fail(fmt.Sprintf("record %q", name), err)
}

// readRecord returns a record, or ErrNotFound, and the last message under its name.
func (c *Conn) readRecord(ctx context.Context, name string) (driver.Record, uint64, error) {
	if name == "" {
		return driver.Record{}, 0, driver.ErrNotFound
	}
	m, err := c.last(ctx, c.names.meta(), c.names.record(name))
	if errors.Is(err, errNone) || code(err) == codeNoStream {
		return driver.Record{}, 0, driver.ErrNotFound
	}
	if err != nil {
		return driver.Record{}, 0, err
	}
	if m.header.Get(deletedHeader) != "" {
		return driver.Record{}, m.seq, driver.ErrNotFound
	}
	return driver.Record{Name: name, Version: int64(m.seq), Data: m.data}, m.seq, nil
}

// Records implements [driver.Records].
func (c *Conn) Records(ctx context.Context, prefix, after string, limit int) ([]driver.Record, error) {
	if err := c.usable(); err != nil || limit < 1 {
		return nil, err
	}
	tokens, err := c.subjects(ctx, c.names.meta(), c.names.allRecords())
	if err != nil && code(err) != codeNoStream {
		return nil, c.fail("records", err)
	}
	var names []string
	for _, token := range tokens {
		if name, err := text(token); err == nil && name > after && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []driver.Record
	for _, name := range names {
		r, _, err := c.readRecord(ctx, name)
		if errors.Is(err, driver.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, c.fail("records", err)
		}
		if out = append(out, r); len(out) == limit {
			break
		}
	}
	return out, nil
}

// PutRecord implements [driver.Records].
func (c *Conn) PutRecord(ctx context.Context, r driver.Record) (version int64, err error) {
	what := fmt.Sprintf("put record %q", r.Name)
	if err := cmp.Or(c.usable(), r.Check()); err != nil {
		return 0, c.fail(what, err)
	}
	seq, err := c.changeRecord(ctx, r.Name, r.Version, &nats.Msg{Subject: c.names.record(r.Name), Data: r.Data})
	return int64(seq), c.fail(what, err)
}

// DeleteRecord implements [driver.Records].
func (c *Conn) DeleteRecord(ctx context.Context, name string, version int64) error {
	if err := c.usable(); err != nil {
		return err
	}
	what := fmt.Sprintf("delete record %q", name)
	if version < 1 { // there is none to delete
		r, _, err := c.readRecord(ctx, name)
		if err == nil || errors.Is(err, driver.ErrNotFound) {
			err = conflict(version, r.Version)
		}
		return c.fail(what, err)
	}
	m := &nats.Msg{Subject: c.names.record(name), Header: nats.Header{deletedHeader: {"1"}}}
	seq, err := c.changeRecord(ctx, name, version, m)
	if err != nil {
		return c.fail(what, err)
	}
	_ = c.removeBlob(ctx, c.names.meta(), []uint64{seq}) // it says all that it has to where it stays
	return nil
}

// changeRecord puts a message in the place of a record that is at a version.
func (c *Conn) changeRecord(ctx context.Context, name string, version int64, m *nats.Msg) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	}
	for expected, turn := uint64(version), 0; ; turn++ {
		seq, err := c.store(ctx, m, expected)
		if c.lostAll(ctx, err) && turn == 0 { // or it was never made
			if err = c.makeMeta(ctx, false); err == nil {
				continue
			}
		}
		if !errors.Is(err, errMoved) {
			return seq, err
		}
		r, last, err := c.readRecord(ctx, name)
		if err != nil && !errors.Is(err, driver.ErrNotFound) {
			return 0, driverkit.Unsent(err)
		}
		if r.Version != version || turn > 10 {
			return 0, conflict(version, r.Version)
		}
		expected = last // it was deleted, or it moved in between
	}
}

func conflict(thought, version int64) error {
	return fmt.Errorf("it was thought to be at version %d: %w", thought, &driver.ConflictError{Version: version})
}
