package deedkafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// from says where a group starts.
type from driver.From

// place moves offsets, which are those that the log begins at, to a cursor's, and refuses
// those that are behind its end.
func (f from) place(offsets, ends []int64) error {
	for p, pos := range f.Cursor {
		next, err := driverkit.ParsePosition(pos)
		switch {
		case err != nil:
			return err
		case p < 0 || p >= len(offsets):
			return fmt.Errorf("%w: the cursor has partition %d, the topic %d", driver.ErrRefused, p, len(offsets))
		case next > ends[p]:
			return fmt.Errorf("%w: the cursor has position %d of partition %d, which ends at %d",
				driver.ErrRefused, next, p, ends[p])
		}
		offsets[p] = max(next, offsets[p])
	}
	return nil
}

// ResetGroup implements [driver.Resetter]. One commit sets all partitions; Kafka takes it
// while the group has no members, and so those there are are sent away first.
func (c *Conn) ResetGroup(ctx context.Context, group, topic string, r driver.Reset) error {
	what := "reset group " + group + " on " + topic
	t, err := c.look(ctx, topic)
	if err != nil {
		return err
	}
	offsets, err := c.starts(ctx, t, from(r.To))
	if err != nil {
		return c.fail(what, err)
	}
	for {
		err := c.idle(ctx, group, topic)
		if errors.Is(err, driver.ErrBusy) && r.Fence {
			err = c.sendAway(ctx, groupName(group, topic))
		}
		if err == nil {
			err = c.setBack(ctx, group, t, offsets, r.Quiet)
		}
		if !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.RebalanceInProgress) {
			return c.fail(what, err)
		}
		select { // a member was there again first
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return c.fail(what, ctx.Err())
		}
	}
}

// setBack stores the offsets of a group without members.
func (c *Conn) setBack(ctx context.Context, group string, t *topic, offsets []int64, quiet bool) error {
	known, err := c.standings(ctx, group, t)
	if err != nil {
		return err
	}
	run := 0
	for _, st := range known {
		run = max(run, st.Run)
	}
	all := make(map[int]standing, len(offsets))
	for p, next := range offsets {
		st := known[p]
		st.Topic, st.Next, st.Owner, st.Run, st.Quiet = t.detail.ID.String(), next, "", run+1, quiet
		st.Rate, st.Status = 0, ""
		all[p] = st
	}
	said, err := commit(ctx, c.client, groupName(group, t.name), t, nobody, all)
	for _, e := range said {
		if err == nil {
			err = e
		}
	}
	return err
}

// sendAway makes all members leave. They join again, and claim what they are given anew.
func (c *Conn) sendAway(ctx context.Context, group string) error {
	described, err := c.admin.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, m := range described[group].Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		req.Members = append(req.Members, member)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	return err
}
