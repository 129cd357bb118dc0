package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var groupsChecks = []Check{
	{
		Name:    "groups-listed",
		Promise: "Groups tells which groups there are, since when, and who is in them.",
		Why:     "A group nobody runs any more holds events for ever; it has to be seen.",
		Needs:   needs(groups, lag),
		Run:     checkGroupsListed,
	},
	{
		Name:    "group-deleted",
		Promise: "A group without members can be deleted with its dead letters; one with members is ErrBusy.",
		Why:     "Deleting what runs would start it from the beginning.",
		Needs:   needs(groups, lag),
		Run:     checkGroupDeleted,
	},
	{
		Name:    "group-paused",
		Promise: "A paused group fetches nothing, on any member, until it is resumed.",
		Why:     "An operator stops a group while its database is repaired, without stopping services.",
		Needs:   needs(groups, lag),
		Run:     checkGroupPaused,
	},
}

// groupInfo describes one group, or is nil.
func (e *Env) groupInfo(group, topic string) *driver.GroupInfo {
	e.t.Helper()
	all, err := capability[driver.Groups](e).Groups(e.t.Context())
	e.must("groups", err)
	for i := range all {
		if all[i].Group == group && all[i].Topic == topic {
			return &all[i]
		}
	}
	return nil
}

func checkGroupsListed(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	if g := e.groupInfo("group", info.Name); g != nil {
		t.Errorf("a group is listed before anybody joined: %+v", g)
	}
	a, b := e.join(e.open(), info.Name, "group"), e.join(e.open(), info.Name, "group")
	e.until("a partition for each", func() bool {
		a.obey()
		b.obey() // whoever was first may have both
		return len(a.claims) == 1 && len(b.claims) == 1
	}, a, b)
	g := e.groupInfo("group", info.Name)
	if g == nil {
		t.Fatalf("the group is not listed")
	}
	if len(g.Members) != 2 || g.Paused || g.Run != 0 || time.Since(g.Created).Abs() > time.Hour {
		t.Errorf("the group is %+v, want two members, not paused, run 0, created now", g)
	}
	a.close()
	b.close()
	g = e.groupInfo("group", info.Name)
	if g == nil || len(g.Members) != 0 || time.Since(g.LastSeen).Abs() > time.Hour {
		t.Errorf("after its members left the group is %+v, want no members, last seen now", g)
	}
	e.join(e.conn, info.Name, "another").close()
	all, err := capability[driver.Groups](e).Groups(t.Context())
	e.must("groups", err)
	sorted := slices.IsSortedFunc(all, func(a, b driver.GroupInfo) int {
		return slices.Compare([]string{a.Group, a.Topic}, []string{b.Group, b.Topic})
	})
	if !sorted || e.groupInfo("another", info.Name) == nil {
		t.Errorf("groups are not listed by (group, topic), or not all of them: %+v", all)
	}
}

func checkGroupDeleted(t T, e *Env) {
	ctx, admin := t.Context(), capability[driver.Groups](e)
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...))
	m := e.join(e.open(), info.Name, "group")
	m.take(3)
	e.wantErr("delete a group with a member", admin.DeleteGroup(ctx, "group", info.Name), driver.ErrBusy)
	if e.features.SideLog {
		log := capability[driver.SideLog](e)
		e.must("park", log.Park(ctx, m.claims[0], []driver.Parked{parked(m.got[0], driver.Dead)}))
	}
	m.release(0, m.got[2].Position)
	m.close()
	e.must("delete", admin.DeleteGroup(ctx, "group", info.Name))
	e.wantErr("delete it again", admin.DeleteGroup(ctx, "group", info.Name), driver.ErrNotFound)
	if e.groupInfo("group", info.Name) != nil {
		t.Errorf("the group is still listed")
	}
	e.wantNoLetters(info.Name)
	anew := e.join(e.conn, info.Name, "group")
	anew.owns(1)
	if e.features.Backlog {
		anew.take(3)
	}
	if c := anew.claims[0]; c.Position != "" && e.features.Backlog || c.Suspect {
		t.Errorf("the group of the same name starts after %q, suspect %v: want the beginning, false", c.Position, c.Suspect)
	}
}

func checkGroupPaused(t T, e *Env) {
	ctx, admin := t.Context(), capability[driver.Groups](e)
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.open(), info.Name, "group")
	other := e.join(e.conn, info.Name, "another")
	m.owns(1)
	e.must("pause", admin.PauseGroup(ctx, "group", info.Name, true))
	if g := e.groupInfo("group", info.Name); g == nil || !g.Paused {
		t.Errorf("the paused group is %+v", g)
	}
	m.quiet("nothing is there") // and the member has had time to hear of the pause
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...))
	other.take(3)
	e.during(4*turn, m)
	if len(m.got) > 0 {
		t.Errorf("%d events came to a paused group", len(m.got))
	}
	m.settle(0, "") // the partition is still its own
	e.must("resume", admin.PauseGroup(ctx, "group", info.Name, false))
	m.take(3)
}
