package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// Record implements [driver.Records].
func (c *Conn) Record(_ context.Context, name string) (driver.Record, error) {
	if err := c.usable(); err != nil {
		return driver.Record{}, err
	}
	r := driver.Record{Name: name}
	err := c.read.row("SELECT version, data FROM deed_record WHERE name = ?", []any{name}, &r.Version, &r.Data)
	if errors.Is(err, sql.ErrNoRows) {
		err = driver.ErrNotFound
	}
	return r, c.fail(fmt.Sprintf("record %q", name), err)
}

// Records implements [driver.Records].
func (c *Conn) Records(_ context.Context, prefix, after string, limit int) ([]driver.Record, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	var out []driver.Record
	const query = "SELECT name, version, data FROM deed_record WHERE name >= ? AND name > ? ORDER BY name LIMIT ? + 0"
	err := c.read.each(query, []any{prefix, after, max(limit, 0)}, func(rows *sql.Rows) error {
		var r driver.Record
		err := rows.Scan(&r.Name, &r.Version, &r.Data)
		if err == nil && !strings.HasPrefix(r.Name, prefix) {
			err = errEnough
		}
		out = append(out, r)
		return err
	})
	if errors.Is(err, errEnough) {
		out, err = out[:len(out)-1], nil
	}
	return out, c.fail("records", err)
}

var errEnough = errors.New("no more rows are wanted")

// PutRecord implements [driver.Records].
func (c *Conn) PutRecord(ctx context.Context, r driver.Record) (version int64, err error) {
	what := fmt.Sprintf("put record %q", r.Name)
	if err := r.Check(); err != nil {
		return 0, c.fail(what, err)
	}
	data := r.Data
	if data == nil {
		data = []byte{} // which is not null
	}
	err = c.write(ctx, 0, func(t *tx) (err error) {
		if version, err = t.recordAt(r.Name, r.Version); err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO deed_record (name, version, data) VALUES (?, ?, ?) "+
			"ON CONFLICT (name) DO UPDATE SET version = excluded.version, data = excluded.data", r.Name, version, data)
		return err
	})
	return version, c.fail(what, err)
}

// DeleteRecord implements [driver.Records].
func (c *Conn) DeleteRecord(ctx context.Context, name string, version int64) error {
	err := c.write(ctx, 0, func(t *tx) error {
		if _, err := t.recordAt(name, version); err != nil {
			return err
		}
		_, err := t.exec("DELETE FROM deed_record WHERE name = ?", name)
		return err
	})
	return c.fail(fmt.Sprintf("delete record %q", name), err)
}

// recordAt returns the next version of a record, or a conflict unless it is at the one
// that was thought. From here on nobody else changes records: the counter's row is this
// transaction's.
func (t *tx) recordAt(name string, thought int64) (next int64, err error) {
	if _, err := t.exec("UPDATE deed_counter SET last = last + 1 WHERE name = ?", "records"); err != nil {
		return 0, err
	}
	if err := t.row("SELECT last FROM deed_counter WHERE name = ?", []any{"records"}, &next); err != nil {
		return 0, err
	}
	var there int64
	err = t.row("SELECT version FROM deed_record WHERE name = ?", []any{name}, &there)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if there != thought {
		return 0, fmt.Errorf("it was thought to be at version %d: %w", thought, &driver.ConflictError{Version: there})
	}
	return next, nil
}
