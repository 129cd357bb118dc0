package deedsql

import (
	"context"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// ResetGroup implements [driver.Resetter].
func (c *Conn) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	err := c.write(ctx, 0, func(t *tx) error {
		id, err := findGroup(t.statements, group, topic)
		if err != nil {
			return err
		}
		if err := t.lock(groupLock(id)); err != nil {
			return err
		}
		found, err := t.topic(topic)
		if err != nil {
			return err
		}
		if !r.Fence {
			members, err := t.members(id, t.now)
			if err != nil {
				return err
			}
			if len(members) > 0 {
				return fmt.Errorf("%w: %s (stop them, or fence them)", driver.ErrBusy, strings.Join(members, ", "))
			}
		}
		return t.reset(found, id, r)
	}, topicLock(topic))
	return c.fail("reset group "+group+" on "+topic, err)
}

// reset begins a group's next run. Every claim is given up under a new epoch, cleanly:
// what its owner was handling comes again or was passed over on purpose, and is not
// suspect. Marks belong to the run before.
func (t *tx) reset(topic *topic, group int64, r driver.Reset) error {
	starts, err := t.starts(topic, r.To)
	if err != nil {
		return err
	}
	for p, at := range starts {
		if err := t.holdClaim(group, p); err != nil { // from handlers that settle in their transactions
			return err
		}
		_, err := t.exec("UPDATE deed_claim SET position = ?, replay = committed, epoch = epoch + 1, seat = '', clean = 1, "+
			"rate = 0, status = '' WHERE group_id = ? AND partition = ?", at, group, p)
		if err != nil {
			return err
		}
	}
	if _, err := t.exec("DELETE FROM deed_mark WHERE group_id = ?", group); err != nil {
		return err
	}
	if _, err := t.exec("UPDATE deed_group SET run = run + 1, quiet = ? WHERE id = ?", r.Quiet, group); err != nil {
		return err
	}
	return t.regroup(group)
}
