package drivertest

import (
	"time"

	"github.com/deedgo/deed/driver"
)

var lagChecks = []Check{
	{
		Name:    "lag-is-exact",
		Promise: "Lag counts what a group has not handled, to the event, and says since when.",
		Why:     "Scaling, alerts and \"is it done?\" all ask this number.",
		Needs:   needs(groups, lag),
		Run:     checkLagExact,
	},
	{
		Name:    "lag-sets-failures-apart",
		Promise: "Parked and dead events are counted as such and not as lag.",
		Why:     "A group that has done all it can is not behind; it has something to repair.",
		Needs:   needs(groups, lag, sideLog),
		Run:     checkLagApart,
	},
	{
		Name:    "lag-names-the-owner",
		Promise: "Lag names a partition's owner and epoch, and shows the rate and status that were settled.",
		Why:     "Whoever looks at a partition that does not move wants to know where to look next.",
		Needs:   needs(groups, lag),
		Run:     checkLagOwner,
	},
	{
		Name:    "lag-filters",
		Promise: "Lag reports the groups and topics asked for, and all when asked for none.",
		Why:     "An alert on one group must not fire for another.",
		Needs:   needs(groups, lag),
		Run:     checkLagFilters,
	},
}

// lagOf returns a group's lag by partition.
func (e *Env) lagOf(info driver.TopicInfo, group string) []driver.PartitionLag {
	e.t.Helper()
	all, err := capability[driver.Groups](e).Lag(e.t.Context(), group, info.Name)
	e.must("lag", err)
	byPartition := make([]driver.PartitionLag, info.Partitions)
	if len(all) != info.Partitions {
		e.t.Fatalf("lag of %d partitions, want %d", len(all), info.Partitions)
	}
	for _, l := range all {
		if l.Group != group || l.Topic != info.Name || l.Partition < 0 || l.Partition >= info.Partitions {
			e.t.Fatalf("lag of %s/%s/%d, want only %s on %s", l.Group, l.Topic, l.Partition, group, info.Name)
		}
		byPartition[l.Partition] = l
	}
	return byPartition
}

func checkLagExact(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 3})
	e.publish(e.conn, batch(info, 0, numbered(1, 12)...), batch(info, 1, numbered(21, 5)...))
	m := e.join(e.conn, info.Name, "group")
	m.take(17)
	stored := make(map[string]driver.Delivery)
	for _, d := range m.got {
		stored[d.ID] = d
	}
	m.settle(0, stored["9"].Position)
	m.settle(1, stored["25"].Position)
	for p, want := range []driver.PartitionLag{
		{Position: stored["9"].Position, End: stored["12"].Position, Events: 3, Oldest: stored["10"].Stored},
		{Position: stored["25"].Position, End: stored["25"].Position},
		{},
	} {
		got := e.lagOf(info, "group")[p]
		if got.Events != want.Events || got.Position != want.Position || got.End != want.End {
			t.Errorf("partition %d: %d events behind, at %q of %q; want %d, %q of %q",
				p, got.Events, got.Position, got.End, want.Events, want.Position, want.End)
		}
		if got.Oldest.IsZero() != want.Oldest.IsZero() || got.Oldest.Sub(want.Oldest).Abs() > time.Millisecond {
			t.Errorf("partition %d: the oldest was stored at %v, want %v", p, got.Oldest, want.Oldest)
		}
	}
	e.publish(e.conn, batch(info, 2, numbered(31, 4)...))
	if got := e.lagOf(info, "group")[2]; got.Events != 4 || got.Oldest.IsZero() {
		t.Errorf("after publishing 4: %d events behind since %v", got.Events, got.Oldest)
	}
}

func checkLagApart(t T, e *Env) {
	d := e.desk("a", "a", "b", "c", "d", "e")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	d.park(3, driver.Waiting)
	want := func(when string, events, parked, dead int64) {
		t.Helper()
		if got := e.lagOf(d.info, "group")[0]; got.Events != events || got.Parked != parked || got.Dead != dead {
			t.Errorf("%s: %d events, %d parked, %d dead; want %d, %d, %d",
				when, got.Events, got.Parked, got.Dead, events, parked, dead)
		}
	}
	want("three of six in the side log", 3, 2, 1)
	d.m.settle(0, d.ds[3].Position)
	want("four of six settled", 2, 2, 1)
	d.unpark(3)
	want("one handled from the side log", 2, 1, 1)
	d.m.settle(0, d.ds[5].Position)
	want("all settled", 0, 1, 1)
	n, err := capability[driver.Letters](e).Discard(t.Context(), d.letterIDsOf(1))
	if err != nil || n != 1 {
		t.Errorf("discard: %d, %v", n, err)
	}
	want("the dead one discarded", 0, 1, 0)
	d.unpark(2)
	want("everything handled", 0, 0, 0)
}

func checkLagOwner(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.conn, info.Name, "group")
	m.owns(1)
	m.settleAll(driver.Settlement{Epoch: m.claims[0].Epoch, Rate: 12.5, Status: "waiting for the dead-letter store"})
	l := e.lagOf(info, "group")[0]
	if l.Member == "" || l.MemberGone || l.Epoch != m.claims[0].Epoch {
		t.Errorf("the owner is %q, gone %v, epoch %d; want a name, false, %d",
			l.Member, l.MemberGone, l.Epoch, m.claims[0].Epoch)
	}
	if l.Rate != 12.5 || l.Status != "waiting for the dead-letter store" {
		t.Errorf("rate %v, status %q; want those settled", l.Rate, l.Status)
	}
	m.release(0, "")
	m.close()
	if l = e.lagOf(info, "group")[0]; l.Member != "" || l.MemberGone {
		t.Errorf("after the release the owner is %q, gone %v; want nobody", l.Member, l.MemberGone)
	}
}

func checkLagFilters(t T, e *Env) {
	one, two := e.topic(driver.TopicSettings{Partitions: 1}), e.topic(driver.TopicSettings{Partitions: 2})
	name := e.freshName() // a group name that is nobody else's
	e.join(e.conn, one.Name, name).close()
	e.join(e.conn, two.Name, name).close()
	e.join(e.conn, two.Name, "another").close()
	for _, c := range []struct {
		group, topic string
		want         int
	}{
		{name, one.Name, 1}, {name, two.Name, 2}, {name, "", 3}, {"", two.Name, 4}, {"another", one.Name, 0},
	} {
		got, err := capability[driver.Groups](e).Lag(t.Context(), c.group, c.topic)
		if err != nil && c.want > 0 || len(got) != c.want {
			t.Errorf("lag of group %q and topic %q has %d partitions, %v, want %d", c.group, c.topic, len(got), err, c.want)
		}
	}
	all, err := capability[driver.Groups](e).Lag(t.Context(), "", "")
	if err != nil || len(all) < 5 {
		t.Errorf("lag of everything has %d partitions, %v, want these 5 and what else is there", len(all), err)
	}
}
