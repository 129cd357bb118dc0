package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// fence returns the id of the claim's group while the claim holds.
func fence(st *statements, c driver.Claim) (group int64, err error) {
	var epoch int64
	var seat string
	err = st.row("SELECT c.group_id, c.epoch, c.seat FROM deed_claim c JOIN deed_group g ON g.id = c.group_id "+
		"JOIN deed_topic p ON p.id = g.topic_id WHERE p.name = ? AND g.name = ? AND c.partition = ?",
		[]any{c.Topic, c.Group, c.Partition}, &group, &epoch, &seat)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%w: group %s on topic %s partition %d", driver.ErrNotFound, c.Group, c.Topic, c.Partition)
	}
	switch {
	case err == nil && seat == "" && epoch == c.Epoch:
		err = fmt.Errorf("%w: partition %d was taken away, and nobody has it yet", driver.ErrFenced, c.Partition)
	case err == nil && epoch != c.Epoch:
		err = fmt.Errorf("%w: partition %d is at epoch %d, the claim has %d", driver.ErrFenced, c.Partition, epoch, c.Epoch)
	}
	return group, err
}

// holdClaim keeps other transactions from a claim and the side log under it.
func (t *tx) holdClaim(group int64, partition int) error {
	if !t.dialect.shared() {
		return nil
	}
	var epoch int64
	err := t.row("SELECT epoch FROM deed_claim WHERE group_id = ? AND partition = ?"+forUpdate,
		[]any{group, partition}, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil // deleted, which is noticed otherwise
	}
	return err
}

// fenced runs a write under a claim.
func (c *Conn) fenced(ctx context.Context, cl driver.Claim, what string, run func(*tx, int64) error) error {
	err := c.write(ctx, 0, func(t *tx) error {
		group, err := fence(t.statements, cl)
		if err == nil && t.dialect.shared() { // again, now that it cannot change
			if err = t.holdClaim(group, cl.Partition); err == nil {
				_, err = fence(t.statements, cl)
			}
		}
		if err != nil {
			return err
		}
		return run(t, group)
	})
	return c.fail(what+" "+cl.Group+" on "+cl.Topic, err)
}

// Park implements [driver.SideLog].
func (c *Conn) Park(ctx context.Context, cl driver.Claim, ps []driver.Parked) error {
	ats := make([]int64, len(ps))
	for i := range ps {
		var err error
		if ats[i], err = driverkit.ParsePosition(ps[i].Position); err == nil && ats[i] == 0 {
			err = fmt.Errorf("%w: event %s has no position", driver.ErrRefused, ps[i].Message.ID)
		}
		if err != nil {
			return c.fail("park", err)
		}
	}
	return c.fenced(ctx, cl, "park", func(t *tx, group int64) error {
		for i := range ps {
			if err := t.park(group, cl.Partition, ats[i], &ps[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

const parkQuery = "INSERT INTO deed_letter (group_id, partition, position, run, key, state, aside, due, " +
	"attempts, crashes, " +
	"reason, error, stack, failed_at, replay, stored_at, id, source, type, version, time, attributes, data) " +
	"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) " +
	"ON CONFLICT (group_id, partition, position, run) DO UPDATE SET key = excluded.key, state = excluded.state, " +
	"aside = excluded.aside, due = excluded.due, attempts = excluded.attempts, crashes = excluded.crashes, " +
	"reason = excluded.reason, error = excluded.error, stack = excluded.stack, failed_at = excluded.failed_at, " +
	"replay = excluded.replay, stored_at = excluded.stored_at, id = excluded.id, source = excluded.source, " +
	"type = excluded.type, version = excluded.version, time = excluded.time, attributes = excluded.attributes, " +
	"data = excluded.data"

// park adds or replaces one record.
func (t *tx) park(group int64, partition int, at int64, p *driver.Parked) error {
	state, due := p.State, t.now+int64(p.After)
	if state == driver.Behind {
		if found, err := t.isParked(group, partition, at, p.Run); found || err != nil {
			return err // delivered again: what became of it since stands
		}
		held, err := t.heldBack(group, partition, at, p)
		if err != nil {
			return err
		}
		if !held && !seeded("unpark") {
			state, due = driver.Waiting, t.now
		}
	}
	_, err := t.exec(parkQuery, group, partition, at, p.Run, p.Key, string(state), p.Aside, due, p.Attempts, p.Crashes,
		storable(p.Reason), storable(p.Error), storable(p.Stack), nanos(p.Failed), p.Replay,
		nanos(p.Stored), p.Message.ID, p.Source, p.Type, p.Version,
		timeValue(p.Time), attributesValue(&p.Message), p.Data)
	return err
}

// isParked reports whether there is a record of an event and run.
func (t *tx) isParked(group int64, partition int, at int64, run int) (found bool, err error) {
	err = t.row("SELECT EXISTS (SELECT 1 FROM deed_letter WHERE group_id = ? AND partition = ? AND position = ? "+
		"AND run = ?)", []any{group, partition, at, run}, &found)
	return found, err
}

// heldBack reports whether an earlier record of the key remains. What a reset
// brings again comes after what was left from before it.
func (t *tx) heldBack(group int64, partition int, at int64, p *driver.Parked) (held bool, err error) {
	if p.Key == "" {
		return false, nil
	}
	err = t.row("SELECT EXISTS (SELECT 1 FROM deed_letter WHERE group_id = ? AND partition = ? AND key = ? AND aside = 0 "+
		"AND (run, position) < (?, ?))", []any{group, partition, p.Key, p.Run, at}, &held)
	return held, err
}

// Unpark implements [driver.SideLog]. A position that is there for several runs
// stands for the earliest record that is not dead.
func (c *Conn) Unpark(ctx context.Context, cl driver.Claim, positions []string) (empty []string, err error) {
	ats := make([]int64, len(positions))
	for i, p := range positions {
		if ats[i], err = driverkit.ParsePosition(p); err != nil {
			return nil, c.fail("unpark", err)
		}
	}
	err = c.fenced(ctx, cl, "unpark", func(t *tx, group int64) error {
		empty = nil
		keys := make(map[string]bool, len(ats))
		for _, at := range ats {
			var letter int64
			var key string
			err := t.row("SELECT letter, key FROM deed_letter WHERE group_id = ? AND partition = ? AND position = ? "+
				"AND (state <> 'dead' OR run = ?) ORDER BY state = 'dead', run LIMIT 1",
				[]any{group, cl.Partition, at, cl.Run}, &letter, &key)
			if errors.Is(err, sql.ErrNoRows) {
				continue // an earlier call whose answer was lost
			}
			if err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM deed_letter WHERE letter = ?", letter); err != nil {
				return err
			}
			keys[key] = true
		}
		if err := c.forgetHandled(t, group, cl.Partition); err != nil {
			return err
		}
		delete(keys, "")
		for key := range keys {
			left, err := t.promote(group, cl.Partition, key)
			if err != nil {
				return err
			}
			if !left {
				empty = append(empty, key)
			}
		}
		return nil
	})
	return empty, err
}

// promote lets the first record of a key go on, when it waits behind one that was
// removed. It reports whether there is any.
func (t *tx) promote(group int64, partition int, key string) (left bool, err error) {
	var letter int64
	var state driver.LetterState
	err = t.row("SELECT letter, state FROM deed_letter WHERE group_id = ? AND partition = ? AND key = ? AND aside = 0 "+
		"ORDER BY run, position LIMIT 1", []any{group, partition, key}, &letter, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil || state != driver.Behind {
		return true, err
	}
	_, err = t.exec("UPDATE deed_letter SET state = 'waiting', due = ? WHERE letter = ?", t.now, letter)
	return true, err
}

// Due implements [driver.SideLog].
func (c *Conn) Due(_ context.Context, cl driver.Claim, limit int) ([]driver.Letter, error) {
	group, err := fence(c.read, cl)
	if err != nil {
		return nil, c.fail("due", err)
	}
	letters, err := c.letters("WHERE l.group_id = ? AND l.partition = ? AND l.state IN ('waiting', 'redriven') "+
		"AND l.due <= ? AND (l.key = '' OR l.aside = 1 OR NOT EXISTS (SELECT 1 FROM deed_letter e "+
		"WHERE e.group_id = l.group_id AND e.partition = l.partition AND e.key = l.key AND e.aside = 0 "+
		"AND (e.run, e.position) < (l.run, l.position))) ORDER BY l.due LIMIT ? + 0",
		group, cl.Partition, c.dialect.now().UnixNano(), limit)
	return letters, c.fail("due", err)
}

// Chain implements [driver.SideLog].
func (c *Conn) Chain(_ context.Context, cl driver.Claim, key string, limit int) ([]driver.Letter, error) {
	group, err := fence(c.read, cl)
	if err != nil {
		return nil, c.fail("chain", err)
	}
	letters, err := c.letters("WHERE l.group_id = ? AND l.partition = ? AND l.key = ? AND l.aside = 0 "+
		"ORDER BY l.run, l.position LIMIT ? + 0", group, cl.Partition, key, limit)
	return letters, c.fail("chain", err)
}

// ParkedKeys implements [driver.SideLog]. Every key that holds events back has one
// head, so the index of heads is all that is read.
func (c *Conn) ParkedKeys(_ context.Context, cl driver.Claim, limit int) ([]string, error) {
	group, err := fence(c.read, cl)
	if err != nil {
		return nil, c.fail("parked keys", err)
	}
	var keys []string
	err = c.read.each("SELECT key FROM deed_letter WHERE group_id = ? AND partition = ? AND key > '' AND aside = 0 "+
		"AND state <> 'behind' GROUP BY key ORDER BY key LIMIT ? + 0", []any{group, cl.Partition, limit},
		func(rows *sql.Rows) error {
			var key string
			err := rows.Scan(&key)
			keys = append(keys, key)
			return err
		})
	return keys, c.fail("parked keys", err)
}

// SetMarks implements [driver.SideLog].
func (c *Conn) SetMarks(ctx context.Context, cl driver.Claim, ms []driver.Mark) error {
	ats := make([]int64, len(ms))
	for i, m := range ms {
		var err error
		if ats[i], err = driverkit.ParsePosition(m.Position); err != nil {
			return c.fail("set marks", err)
		}
	}
	return c.fenced(ctx, cl, "set marks", func(t *tx, group int64) error {
		for i, m := range ms {
			if err := t.mark(group, cl.Partition, ats[i], m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) mark(group int64, partition int, at int64, m driver.Mark) error {
	if m.Attempts == 0 && m.Crashes == 0 {
		_, err := t.exec("DELETE FROM deed_mark WHERE group_id = ? AND partition = ? AND position = ?", group, partition, at)
		return err
	}
	_, err := t.exec("INSERT INTO deed_mark (group_id, partition, position, attempts, crashes) VALUES (?, ?, ?, ?, ?) "+
		"ON CONFLICT (group_id, partition, position) DO UPDATE SET attempts = excluded.attempts, crashes = excluded.crashes",
		group, partition, at, m.Attempts, m.Crashes)
	return err
}

// Marks implements [driver.SideLog].
func (c *Conn) Marks(_ context.Context, cl driver.Claim) ([]driver.Mark, error) {
	after, err := driverkit.ParsePosition(cl.Position)
	if err != nil {
		return nil, c.fail("marks", err)
	}
	group, err := fence(c.read, cl)
	if err != nil {
		return nil, c.fail("marks", err)
	}
	var ms []driver.Mark
	err = c.read.each("SELECT position, attempts, crashes FROM deed_mark WHERE group_id = ? AND partition = ? "+
		"AND position > ? ORDER BY position", []any{group, cl.Partition, after}, func(rows *sql.Rows) error {
		var m driver.Mark
		var at int64
		err := rows.Scan(&at, &m.Attempts, &m.Crashes)
		m.Position = driverkit.Position(at)
		ms = append(ms, m)
		return err
	})
	return ms, c.fail("marks", err)
}
