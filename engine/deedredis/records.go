package deedredis

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// Record implements [driver.Records].
func (c *Conn) Record(ctx context.Context, name string) (driver.Record, error) {
	if err := c.usable(); err != nil {
		return driver.Record{}, err
	}
	what := fmt.Sprintf("record %q", name)
	if name == "" { // the field of the last version
		return driver.Record{}, c.fail(what, driver.ErrNotFound)
	}
	text, err := c.client.Do(ctx, c.client.B().Hget().Key(c.keys.records()[0]).Field(name).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		err = driver.ErrNotFound
	}
	if err != nil {
		return driver.Record{}, c.fail(what, err)
	}
	r, err := parseRecord(name, text)
	return r, c.fail(what, err)
}

// parseRecord reads what record.lua wrote.
func parseRecord(name, text string) (r driver.Record, err error) {
	version, data, _ := strings.Cut(text, ":")
	r = driver.Record{Name: name, Data: []byte(data)}
	if r.Version, err = strconv.ParseInt(version, 10, 64); err != nil {
		err = fmt.Errorf("%w: record %q is not of this version's format: %w", driver.ErrRefused, name, err)
	}
	return r, err
}

// Records implements [driver.Records].
func (c *Conn) Records(ctx context.Context, prefix, after string, limit int) ([]driver.Record, error) {
	if err := c.usable(); err != nil || limit < 1 {
		return nil, err
	}
	from, to := "["+prefix, "("+prefix+"\xff" // which no text has
	if prefix == "" {
		to = "+"
	}
	if after >= prefix {
		from = "(" + after
	}
	m, err := c.run(ctx, recordsScript, c.keys.records(), from, to, strconv.Itoa(limit))
	if err != nil {
		return nil, c.fail("records", err)
	}
	list, err := m.AsStrSlice()
	var out []driver.Record
	for i := 0; i+1 < len(list) && err == nil; i += 2 {
		var r driver.Record
		r, err = parseRecord(list[i], list[i+1])
		out = append(out, r)
	}
	return out, c.fail("records", err)
}

// PutRecord implements [driver.Records].
func (c *Conn) PutRecord(ctx context.Context, r driver.Record) (version int64, err error) {
	what := fmt.Sprintf("put record %q", r.Name)
	if err := cmp.Or(c.usable(), r.Check()); err != nil {
		return 0, c.fail(what, err)
	}
	version, err = c.changeRecord(ctx, r.Name, r.Version, string(r.Data))
	return version, c.fail(what, err)
}

// DeleteRecord implements [driver.Records].
func (c *Conn) DeleteRecord(ctx context.Context, name string, version int64) error {
	if err := c.usable(); err != nil {
		return err
	}
	_, err := c.changeRecord(ctx, name, version)
	return c.fail(fmt.Sprintf("delete record %q", name), err)
}

// changeRecord puts data in the place of a record, or nothing.
func (c *Conn) changeRecord(
	ctx context.Context, name string, thought int64, data ...string,
) (version int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", driver.ErrNotStored, err)
	}
	args := append([]string{name, strconv.FormatInt(thought, 10)}, data...)
	results, short := c.appendAll(ctx, []call{{recordScript, c.keys.records(), args}})
	answer, err := results[0].AsStrSlice()
	if err == nil {
		version, err = strconv.ParseInt(answer[1], 10, 64)
	}
	switch {
	case err != nil:
		return 0, err
	case answer[0] == "conflict":
		return 0, fmt.Errorf("it was thought to be at version %d: %w", thought, &driver.ConflictError{Version: version})
	case short != nil:
		return 0, short
	}
	return version, nil
}
