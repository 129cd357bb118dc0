package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// store is the Conn as the keeper sees it.
type store struct{ c *Conn }

var _ driverkit.Store = (*store)(nil)

// Renew implements [driverkit.Store]. Rows that were swept while the process was
// frozen come back.
func (s *store) Renew(ctx context.Context, lease time.Duration, seats []string) error {
	own := s.c.own(seats)
	locks := make([]lock, len(own))
	for i := range own {
		locks[i] = groupLock(own[i].group)
	}
	return s.c.beat(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO deed_member (member, renewed, expires) VALUES (?, ?, ?) "+
			"ON CONFLICT (member) DO UPDATE SET renewed = excluded.renewed, expires = excluded.expires",
			s.c.member, t.now, t.now+int64(lease))
		if err != nil {
			return err
		}
		for i, seat := range seats {
			if err := t.seat(seat, s.c.member, own[i]); err != nil {
				return err
			}
		}
		return nil
	}, locks...)
}

// seat adds a seat where it is missing, and shows that its group is used.
func (t *tx) seat(seat, member string, own ownSeat) error {
	used, err := t.exec("UPDATE deed_group SET last_seen = ? WHERE id = ?", t.now, own.group)
	if err != nil || used == 0 {
		return err // the group was deleted, which View reports
	}
	added, err := t.exec("INSERT INTO deed_seat (seat, member, group_id, unsafe) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (seat) DO NOTHING", seat, member, own.group, own.unsafe)
	if err != nil || added == 0 {
		return err
	}
	return t.regroup(own.group)
}

// regroup says that members of a group have to look again.
func (t *tx) regroup(group int64) error {
	t.groups = true
	_, err := t.exec("UPDATE deed_group SET changes = changes + 1 WHERE id = ?", group)
	return err
}

// View implements [driverkit.Store].
func (s *store) View(_ context.Context, seats []string) (map[string]driverkit.View, time.Duration, error) {
	views := make(map[string]driverkit.View, len(seats))
	now := s.c.dialect.now().UnixNano()
	lapse := int64(0)
	for i, seat := range s.c.own(seats) {
		v, next, err := s.c.view(seat.group, now)
		if err != nil {
			return nil, 0, err
		}
		views[seats[i]] = v
		if next > 0 && (lapse == 0 || next < lapse) {
			lapse = next
		}
	}
	return views, time.Duration(lapse), nil
}

// view reads how one group stands, and in how many nanoseconds the next lease of
// another member ends.
func (c *Conn) view(group, now int64) (v driverkit.View, lapse int64, err error) {
	err = c.read.row("SELECT paused FROM deed_group WHERE id = ?", []any{group}, &v.Paused)
	if errors.Is(err, sql.ErrNoRows) {
		return driverkit.View{Gone: true}, 0, nil
	}
	if err != nil {
		return v, 0, err
	}
	live := make(map[string]bool)
	err = c.read.each("SELECT s.seat, m.member, m.expires FROM deed_seat s JOIN deed_member m ON m.member = s.member "+
		"WHERE s.group_id = ? AND m.expires > ?", []any{group, now}, func(rows *sql.Rows) error {
		var seat, member string
		var expires int64
		if err := rows.Scan(&seat, &member, &expires); err != nil {
			return err
		}
		live[seat] = true
		v.Seats = append(v.Seats, seat)
		if left := expires - now; member != c.member && (lapse == 0 || left < lapse) {
			lapse = left
		}
		return nil
	})
	if err != nil {
		return v, 0, err
	}
	err = c.read.each("SELECT partition, seat, epoch FROM deed_claim WHERE group_id = ?", []any{group},
		func(rows *sql.Rows) error {
			var s driverkit.Share
			err := rows.Scan(&s.Partition, &s.Owner, &s.Epoch)
			s.Live = live[s.Owner]
			v.Shares = append(v.Shares, s)
			return err
		})
	return v, lapse, err
}

// Acquire implements [driverkit.Store].
func (s *store) Acquire(ctx context.Context, seat string, takes []driverkit.Take) ([]driver.Claim, error) {
	group := s.c.own([]string{seat})[0].group
	var claims []driver.Claim
	err := s.c.beat(ctx, func(t *tx) error {
		claims = claims[:0]
		for _, take := range takes {
			claim, ok, err := t.acquire(group, seat, take)
			if err != nil {
				return err
			}
			if ok {
				claims = append(claims, claim)
			}
		}
		return nil
	}, groupLock(group))
	return claims, err
}

// acquire moves a claim to a seat under the next epoch. An owner that is still
// named did not release it, so what it was handling is suspect, unless the owner is
// the seat itself: it was late with its lease, and lives.
func (t *tx) acquire(group int64, seat string, take driverkit.Take) (driver.Claim, bool, error) {
	var c driver.Claim
	var at int64
	var clean bool
	if err := t.holdClaim(group, take.Partition); err != nil {
		return c, false, err
	}
	err := t.row("SELECT g.name, p.name, c.partition, c.epoch + 1, c.position, c.clean, g.run, g.quiet FROM deed_claim c "+
		"JOIN deed_group g ON g.id = c.group_id JOIN deed_topic p ON p.id = g.topic_id "+
		"WHERE c.group_id = ? AND c.partition = ? AND c.epoch = ? AND c.seat = ?",
		[]any{group, take.Partition, take.Epoch, take.Owner},
		&c.Group, &c.Topic, &c.Partition, &c.Epoch, &at, &clean, &c.Run, &c.Quiet)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	c.Position, c.Suspect = driverkit.Position(at), !clean && take.Owner != seat
	_, err = t.exec("UPDATE deed_claim SET epoch = epoch + 1, seat = ?, clean = 0 WHERE group_id = ? AND partition = ?",
		seat, group, take.Partition)
	return c, true, err
}

// Leave implements [driverkit.Store].
func (s *store) Leave(ctx context.Context, seat string, unused []driver.Claim) error {
	group := s.c.own([]string{seat})[0].group
	return s.c.write(ctx, 0, func(t *tx) error {
		for _, c := range unused {
			_, err := t.exec("UPDATE deed_claim SET seat = '', clean = ? WHERE group_id = ? AND partition = ? AND epoch = ? "+
				"AND seat = ?", !c.Suspect, group, c.Partition, c.Epoch, seat)
			if err != nil {
				return err
			}
		}
		if _, err := t.exec("DELETE FROM deed_seat WHERE seat = ?", seat); err != nil {
			return err
		}
		return t.regroup(group)
	}, groupLock(group))
}

// removeMember removes a member with its seats.
func (t *tx) removeMember(member string) error {
	var locks []lock
	err := t.each("SELECT group_id FROM deed_seat WHERE member = ?", []any{member}, func(rows *sql.Rows) error {
		var group int64
		err := rows.Scan(&group)
		locks = append(locks, groupLock(group))
		return err
	})
	if err != nil {
		return err
	}
	if err := t.lock(locks...); err != nil {
		return err
	}
	t.groups = true
	for _, query := range []string{
		"UPDATE deed_group SET changes = changes + 1 WHERE id IN (SELECT group_id FROM deed_seat WHERE member = ?)",
		"DELETE FROM deed_seat WHERE member = ?",
		"DELETE FROM deed_member WHERE member = ?",
	} {
		if _, err := t.exec(query, member); err != nil {
			return err
		}
	}
	return nil
}

// own returns what each seat of this connection is for.
func (c *Conn) own(seats []string) []ownSeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := make([]ownSeat, len(seats))
	for i, s := range seats {
		own[i] = c.seats[s]
	}
	return own
}

// countChanges adds up the changes of the groups that this connection has seats in.
func (c *Conn) countChanges() (int64, error) {
	c.mu.Lock()
	groups := make(map[int64]bool, len(c.seats))
	for _, s := range c.seats {
		groups[s.group] = true
	}
	c.mu.Unlock()
	var sum int64
	for g := range groups {
		var n int64
		err := c.read.row("SELECT changes FROM deed_group WHERE id = ?", []any{g}, &n)
		if errors.Is(err, sql.ErrNoRows) {
			n = -1 // deleted, which is a change as well
		} else if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
