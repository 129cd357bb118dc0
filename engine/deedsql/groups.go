package deedsql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// findGroup returns a group's id, or ErrNotFound.
func findGroup(st *statements, group, topic string) (id int64, err error) {
	err = st.row("SELECT g.id FROM deed_group g JOIN deed_topic p ON p.id = g.topic_id WHERE g.name = ? AND p.name = ?",
		[]any{group, topic}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, group, topic)
	}
	return id, err
}

// Groups implements [driver.Groups].
func (c *Conn) Groups(context.Context) ([]driver.GroupInfo, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	var infos []driver.GroupInfo
	var ids []int64
	err := c.read.each("SELECT g.id, g.name, p.name, g.created, g.last_seen, g.paused, g.run, "+
		"(SELECT coalesce(sum(dropped), 0) FROM deed_claim WHERE group_id = g.id) FROM deed_group g "+
		"JOIN deed_topic p ON p.id = g.topic_id ORDER BY g.name, p.name", nil, func(rows *sql.Rows) error {
		var g driver.GroupInfo
		var id, created, seen int64
		err := rows.Scan(&id, &g.Group, &g.Topic, &created, &seen, &g.Paused, &g.Run, &g.Dropped)
		g.Created, g.LastSeen = nanoTime(created), nanoTime(seen)
		infos, ids = append(infos, g), append(ids, id)
		return err
	})
	if err != nil {
		return nil, c.fail("groups", err)
	}
	now := c.dialect.now().UnixNano()
	for i, id := range ids {
		if infos[i].Members, err = c.read.members(id, now); err != nil {
			return nil, c.fail("groups", err)
		}
		if infos[i].Unsafe, err = c.read.unsafeTypes(id, now); err != nil {
			return nil, c.fail("groups", err)
		}
	}
	return infos, nil
}

// members returns a group's members with a live lease.
func (s *statements) members(group, now int64) (members []string, err error) {
	err = s.each("SELECT s.seat FROM deed_seat s JOIN deed_member m ON m.member = s.member "+
		"WHERE s.group_id = ? AND m.expires > ? ORDER BY s.seat", []any{group, now}, func(rows *sql.Rows) error {
		var seat string
		err := rows.Scan(&seat)
		members = append(members, driverkit.ProcessOf(seat))
		return err
	})
	return members, err
}

// unsafeTypes returns what the live members of a group declared, and the last one to
// join, who may be gone.
func (s *statements) unsafeTypes(group, now int64) ([]string, error) {
	var types []string
	err := s.each("SELECT s.unsafe FROM deed_seat s JOIN deed_member m ON m.member = s.member "+
		"WHERE s.group_id = ? AND m.expires > ? UNION SELECT unsafe FROM deed_group WHERE id = ?",
		[]any{group, now, group}, func(rows *sql.Rows) error {
			var list string
			if err := rows.Scan(&list); err != nil {
				return err
			}
			var some []string
			if err := json.Unmarshal([]byte(list), &some); err != nil {
				return fmt.Errorf("the types of a group are damaged: %w", err)
			}
			types = append(types, some...)
			return nil
		})
	slices.Sort(types)
	return slices.Compact(types), err
}

// PauseGroup implements [driver.Groups].
func (c *Conn) PauseGroup(ctx context.Context, group, topic string, paused bool) error {
	err := c.write(ctx, 0, func(t *tx) error {
		id, err := findGroup(t.statements, group, topic)
		if err != nil {
			return err
		}
		if err := t.lock(groupLock(id)); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE deed_group SET paused = ? WHERE id = ?", paused, id); err != nil {
			return err
		}
		return t.regroup(id)
	})
	return c.fail("pause group "+group+" on "+topic, err)
}

// raiseEpochs remembers the epochs of groups to delete.
func (t *tx) raiseEpochs(of string, id int64) error {
	var last int64
	err := t.row("SELECT coalesce(max(c.epoch), 0) FROM deed_claim c JOIN deed_group g ON g.id = c.group_id WHERE "+of,
		[]any{id}, &last)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE deed_epoch SET floor = ? WHERE floor < ?", last, last)
	return err
}

// DeleteGroup implements [driver.Groups].
func (c *Conn) DeleteGroup(ctx context.Context, group, topic string) error {
	err := c.write(ctx, 0, func(t *tx) error {
		id, err := findGroup(t.statements, group, topic)
		if err != nil {
			return err
		}
		if err := t.lock(groupLock(id)); err != nil {
			return err
		}
		members, err := t.members(id, t.now)
		if err != nil {
			return err
		}
		if len(members) > 0 {
			return fmt.Errorf("%w: %s (stop them first)", driver.ErrBusy, strings.Join(members, ", "))
		}
		if err := t.raiseEpochs("g.id = ?", id); err != nil {
			return err
		}
		for _, query := range []string{
			"INSERT INTO deed_dropped (kind, id) VALUES ('group', ?)",
			"DELETE FROM deed_group WHERE id = ?",
		} {
			if _, err := t.exec(query, id); err != nil {
				return err
			}
		}
		return nil
	}, topicLock(topic))
	if err == nil {
		err = c.sweepDropped(ctx)
	}
	return c.fail("delete group "+group+" on "+topic, err)
}

// Lag implements [driver.Groups]. Claims are read before ends, so that what is
// handled meanwhile never makes a lag negative.
func (c *Conn) Lag(_ context.Context, group, topic string) ([]driver.PartitionLag, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	claims, err := c.claims(group, topic)
	if err != nil {
		return nil, c.fail("lag", err)
	}
	lags := make([]driver.PartitionLag, len(claims))
	ends := make(map[int64][]int64)
	for i, cl := range claims {
		if ends[cl.topic.id] == nil {
			if ends[cl.topic.id], err = c.ends(&cl.topic); err != nil {
				return nil, c.fail("lag", err)
			}
		}
		if lags[i], err = c.lag(cl, ends[cl.topic.id][cl.partition]); err != nil {
			return nil, c.fail("lag", err)
		}
	}
	return lags, nil
}

// claim is a row of deed_claim with what belongs to it.
type claim struct {
	topic            topic // id, name and partitions only
	groupID          int64
	group            string
	run              int
	partition        int
	position         int64
	epoch            int64
	rate             float64
	status           string
	dropped          int64
	seat             string
	renewed, expires int64 // of the seat's member, 0 when it is gone
}

// claims returns those of the groups and topics named, "" for all, in order.
func (c *Conn) claims(group, topic string) ([]claim, error) {
	var claims []claim
	err := c.read.each("SELECT p.id, p.name, p.partitions, g.id, g.name, g.run, c.partition, c.position, "+
		"c.epoch, c.rate, "+
		"c.status, c.dropped, c.seat, coalesce(m.renewed, 0), coalesce(m.expires, 0) FROM deed_claim c "+
		"JOIN deed_group g ON g.id = c.group_id JOIN deed_topic p ON p.id = g.topic_id "+
		"LEFT JOIN deed_seat s ON s.seat = c.seat LEFT JOIN deed_member m ON m.member = s.member "+
		"WHERE (? = '' OR g.name = ?) AND (? = '' OR p.name = ?) ORDER BY g.name, p.name, c.partition",
		[]any{group, group, topic, topic}, func(rows *sql.Rows) error {
			var l claim
			err := rows.Scan(&l.topic.id, &l.topic.name, &l.topic.settings.Partitions, &l.groupID, &l.group, &l.run,
				&l.partition, &l.position, &l.epoch, &l.rate, &l.status, &l.dropped, &l.seat, &l.renewed, &l.expires)
			claims = append(claims, l)
			return err
		})
	return claims, err
}

// lag measures one claim against its partition's end.
func (c *Conn) lag(cl claim, end int64) (driver.PartitionLag, error) {
	l := driver.PartitionLag{
		Group: cl.group, Topic: cl.topic.name, Partition: cl.partition, Position: driverkit.Position(cl.position),
		End: driverkit.Position(end), Epoch: cl.epoch, Rate: cl.rate, Status: cl.status,
	}
	if cl.dropped > 0 {
		l.Status = strings.TrimPrefix(fmt.Sprintf("%s; hold dropped %d events", l.Status, cl.dropped), "; ")
	}
	c.owner(&l, cl)
	err := c.read.each("SELECT state, count(*) FROM deed_letter WHERE group_id = ? AND partition = ? GROUP BY state",
		[]any{cl.groupID, cl.partition}, func(rows *sql.Rows) error {
			var state driver.LetterState
			var n int64
			err := rows.Scan(&state, &n)
			if state == driver.Dead {
				l.Dead = n
			} else {
				l.Parked += n
			}
			return err
		})
	if err != nil {
		return l, err
	}
	aside, first, err := c.setAside(cl)
	if err != nil {
		return l, err
	}
	if l.Events = max(0, end-cl.position-aside); l.Events == 0 {
		return l, nil
	}
	stored, err := storedAt(c.read, cl.topic.id, cl.partition, first)
	if errors.Is(err, sql.ErrNoRows) {
		return l, nil // deleted meanwhile
	}
	l.Oldest = nanoTime(stored)
	return l, err
}

// setAside counts the events after the claim's position that are in the side log
// already, and finds the first position that is not. There are few: the core keeps
// what is handled out of turn within a window.
func (c *Conn) setAside(cl claim) (n, first int64, err error) {
	first = cl.position + 1
	err = c.read.each("SELECT position FROM deed_letter WHERE group_id = ? AND partition = ? AND position > ? "+
		"AND run = ? "+
		"ORDER BY position", []any{cl.groupID, cl.partition, cl.position, cl.run}, func(rows *sql.Rows) error {
		var at int64
		err := rows.Scan(&at)
		n++
		if at == first {
			first++
		}
		return err
	})
	return n, first, err
}

// owner tells who has the claim. An owner is gone when its process has ended, or
// when it has missed a renewal: renewals come at a third of the lease.
func (c *Conn) owner(l *driver.PartitionLag, cl claim) {
	now := c.dialect.now().UnixNano()
	if cl.expires <= now {
		return
	}
	l.Member, l.Lapses = driverkit.ProcessOf(cl.seat), nanoTime(cl.expires)
	l.MemberGone = now > cl.renewed+(cl.expires-cl.renewed)*2/3 || driverkit.ProcessEnded(cl.seat)
}
