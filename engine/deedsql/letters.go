package deedsql

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

const (
	maxListed = 1000   // records that List returns when the filter does not say
	maxIDs    = 10_000 // ids that one call may name, well below SQLite's bound on parameters
	idsAtOnce = 500
)

const selectLetters = "SELECT l.letter, g.name, p.name, l.partition, l.position, l.run, l.key, l.state, " +
	"l.aside, l.due, " +
	"l.attempts, l.crashes, l.reason, l.error, l.stack, l.failed_at, l.replay, l.stored_at, l.id, l.source, l.type, " +
	"l.version, l.time, l.attributes, l.data, l.edits FROM deed_letter l JOIN deed_group g ON g.id = l.group_id " +
	"JOIN deed_topic p ON p.id = g.topic_id "

// letters returns the records that the rest of a query selects.
func (c *Conn) letters(where string, args ...any) ([]driver.Letter, error) {
	letters := []driver.Letter{}
	err := c.read.each(selectLetters+where, args, func(rows *sql.Rows) error {
		l, err := scanLetter(rows)
		letters = append(letters, l)
		return err
	})
	return letters, err
}

func scanLetter(rows *sql.Rows) (driver.Letter, error) {
	var l driver.Letter
	var at, due, failed, stored int64
	var when any
	var attributes sql.NullString
	var edits string
	err := rows.Scan(&l.ID, &l.Group, &l.Topic, &l.Partition, &at, &l.Run, &l.Key, &l.State, &l.Aside, &due,
		&l.Attempts, &l.Crashes, &l.Reason, &l.Error, &l.Stack, &failed, &l.Replay, &stored,
		&l.Message.ID, &l.Source, &l.Type,
		&l.Version, &when, &attributes, &l.Data, &edits)
	if err != nil {
		return l, err
	}
	l.Position, l.Due, l.Failed, l.Stored = driverkit.Position(at), nanoTime(due), nanoTime(failed), nanoTime(stored)
	if l.Time, err = parseTime(when); err != nil {
		return l, err
	}
	if l.Edits, err = parseEdits(edits); err != nil {
		return l, err
	}
	return l, parseAttributes(&l.Message, attributes.String)
}

// List implements [driver.Letters].
func (c *Conn) List(ctx context.Context, f driver.LetterFilter) ([]driver.Letter, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if len(f.IDs) > maxIDs {
		err := fmt.Errorf("%w: %d ids (at most %d at once)", driver.ErrRefused, len(f.IDs), maxIDs)
		return nil, c.fail("list dead letters", err)
	}
	query, args := listLetters(f)
	// Not a prepared statement: there are too many combinations to keep.
	rows, err := c.db.QueryContext(ctx, c.dialect.sql(query), args...)
	if err != nil {
		return nil, c.fail("list dead letters", err)
	}
	defer rows.Close()
	letters := []driver.Letter{}
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return nil, c.fail("list dead letters", err)
		}
		letters = append(letters, l)
	}
	return letters, c.fail("list dead letters", rows.Err())
}

// listLetters returns the query of a list. A page begins at its first letter and ends
// at its limit: no condition invites to gather all of a group's letters and sort them
// for each page, hence coalesce.
func listLetters(f driver.LetterFilter) (query string, args []any) {
	conditions, args := []string{"l.letter > ?"}, []any{f.After}
	add := func(use bool, condition string, values ...any) {
		if use {
			conditions, args = append(conditions, condition), append(args, values...)
		}
	}
	add(f.Group != "", "coalesce(g.name, '') = ?", f.Group)
	add(f.Topic != "", "coalesce(p.name, '') = ?", f.Topic)
	add(f.Key != "", "l.key = ?", f.Key)
	add(f.Type != "", "l.type = ?", f.Type)
	add(!f.Since.IsZero(), "l.failed_at >= ?", nanos(f.Since))
	add(len(f.IDs) > 0, "l.letter IN ("+places(len(f.IDs))+")", values(f.IDs)...)
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	add(len(states) > 0, "l.state IN ("+places(len(states))+")", values(states)...)
	args = append(args, cmp.Or(f.Limit, maxListed))
	return selectLetters + "WHERE " + strings.Join(conditions, " AND ") + " ORDER BY l.letter LIMIT ?", args
}

// Redrive implements [driver.Letters].
func (c *Conn) Redrive(ctx context.Context, ids []int64) (int, error) {
	n := 0
	err := c.write(ctx, 0, func(t *tx) error {
		n = 0
		for some := range slices.Chunk(ids, idsAtOnce) {
			done, err := t.exec("UPDATE deed_letter SET state = 'redriven', due = ? WHERE state = 'dead' AND letter IN ("+
				places(idsAtOnce)+")", append([]any{t.now}, padded(some)...)...)
			if err != nil {
				return err
			}
			n += int(done)
		}
		return nil
	})
	return n, c.fail("redrive", err)
}

// Discard implements [driver.Letters].
func (c *Conn) Discard(ctx context.Context, ids []int64) (int, error) {
	n := 0
	err := c.write(ctx, 0, func(t *tx) error {
		n = 0
		for some := range slices.Chunk(ids, idsAtOnce) {
			done, err := t.discard(some)
			if err != nil {
				return err
			}
			n += done
		}
		return nil
	})
	return n, c.fail("discard", err)
}

// discard removes dead letters and lets what waits behind them go on.
func (t *tx) discard(ids []int64) (n int, err error) {
	type chain struct {
		group     int64
		partition int
		key       string
	}
	chains := make(map[chain]bool)
	err = t.each("SELECT group_id, partition, key FROM deed_letter WHERE state = 'dead' AND letter IN ("+
		places(idsAtOnce)+")", padded(ids), func(rows *sql.Rows) error {
		var c chain
		err := rows.Scan(&c.group, &c.partition, &c.key)
		if c.key != "" {
			chains[c] = true
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for c := range chains {
		if err := t.holdClaim(c.group, c.partition); err != nil {
			return 0, err
		}
	}
	query := "DELETE FROM deed_letter WHERE state = 'dead' AND letter IN (" + places(idsAtOnce) + ")"
	done, err := t.exec(query, padded(ids)...)
	if err != nil {
		return 0, err
	}
	for c := range chains {
		if _, err := t.promote(c.group, c.partition, c.key); err != nil {
			return 0, err
		}
	}
	return int(done), nil
}

// places returns n placeholders.
func places(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// padded returns ids and as many zeros, which no record has, as make idsAtOnce: one
// statement serves any number.
func padded(ids []int64) []any {
	args := make([]any, idsAtOnce)
	for i := range args {
		args[i] = int64(0)
	}
	copy(args, values(ids))
	return args
}

func values[T any](vs []T) []any {
	args := make([]any, len(vs))
	for i, v := range vs {
		args[i] = v
	}
	return args
}
