package drivertest

import (
	"maps"
	"slices"

	"github.com/deedgo/deed/driver"
)

var fencingChecks = []Check{
	{
		Name:    "fenced-settle",
		Promise: "A member that lost its partition cannot move the group's position, nor release it.",
		Why:     "A zombie that wakes up would skip what its successor has not handled.",
		Needs:   needs(groups, fenced),
		Run:     checkFencedSettle,
	},
	{
		Name:    "fenced-settle-in-part",
		Promise: "Settle stores the partitions that are still the member's and names the others.",
		Why:     "One lost partition must not cost the progress of the rest.",
		Needs:   needs(groups, fenced),
		Run:     checkFencedInPart,
	},
	{
		Name:    "fenced-side-log",
		Promise: "Every method of the side log is ErrFenced under a newer epoch, and writes nothing.",
		Why:     "A zombie's parking or unparking would break the order of a key or lose its event.",
		Needs:   needs(groups, fenced, sideLog),
		Run:     checkFencedSideLog,
	},
	{
		Name:    "position-never-goes-back",
		Promise: "A settlement with a lower position, or none, leaves the position where it is.",
		Why:     "Settlements may overtake each other; what was handled stays handled.",
		Needs:   needs(groups),
		Run:     checkNeverBack,
	},
}

var frozenChecks = []Check{
	{
		Name:    "frozen-member-lapses",
		Promise: "A member silent for its lease loses its partitions, and what it does on waking writes nothing.",
		Why:     "A process stopped for a minute must neither hold up its group nor spoil it afterwards.",
		Needs:   needs(groups, fenced),
		Freezes: true,
		Run:     checkFrozenLapses,
	},
	{
		Name:    "frozen-member-is-seen",
		Promise: "Lag tells that a partition's owner is silent, until its lease has run out.",
		Why:     "\"Why does nothing move?\" has an answer then.",
		Needs:   needs(groups, fenced, lag),
		Freezes: true,
		Run:     checkFrozenSeen,
	},
}

// passedOn is a partition of 6 events, of which one member settled 2 and handed
// over to another, which settled 1 more.
type passedOn struct {
	info  driver.TopicInfo
	p     int
	a, b  *member
	ds    []driver.Delivery
	stale driver.Claim // the first member's, whose subscription is still open
	owner driver.Claim // the second one's
}

func (e *Env) passOn() passedOn {
	e.t.Helper()
	info, a, b := e.two(2)
	scout := e.freshName()
	e.expect(info, scout)
	e.publish(e.conn, batch(info, 0, numbered(1, 6)...), batch(info, 1, numbered(11, 6)...))
	e.until("a wanted partition", func() bool { return len(a.wanted) == 1 }, a, b)
	p := slices.Collect(maps.Keys(a.wanted))[0]
	x := passedOn{info: info, p: p, a: a, b: b, stale: a.claims[p]}
	x.ds = e.scan(info, scout, p)
	a.release(p, x.ds[1].Position)
	e.until("the hand-over", func() bool { return len(of(b.got, p)) == 4 }, b, a)
	b.settle(p, x.ds[2].Position)
	x.owner = b.claims[p]
	return x
}

// scan returns the events of a partition, read by a group that is there for this.
func (e *Env) scan(info driver.TopicInfo, group string, partition int) []driver.Delivery {
	e.t.Helper()
	scout := e.join(e.conn, info.Name, group)
	scout.take(6 * info.Partitions)
	scout.close()
	return of(scout.got, partition)
}

// position ends the members and returns what their group has settled, by joining
// it anew.
func (e *Env) position(partition, partitions int, ms ...*member) string {
	e.t.Helper()
	for _, m := range ms {
		for p := range m.claims {
			m.release(p, "")
		}
		m.close()
	}
	next := e.join(e.conn, ms[0].spec.Topic, ms[0].spec.Group)
	next.owns(partitions)
	return next.claims[partition].Position
}

func checkFencedSettle(t T, e *Env) {
	x := e.passOn()
	for _, release := range []bool{false, true} {
		lost, err := x.a.sub.Settle(t.Context(), []driver.Settlement{
			{Partition: x.p, Epoch: x.stale.Epoch, Position: x.ds[4].Position, Release: release},
		})
		if err != nil || !slices.Equal(lost, []int{x.p}) {
			t.Errorf("settling with a stale epoch, release %v: lost %v, %v, want %v", release, lost, err, []int{x.p})
		}
	}
	x.b.settle(x.p, "") // is still the owner's to settle
	if got, want := e.position(x.p, 2, x.a, x.b), x.ds[2].Position; got != want {
		t.Errorf("the group's position is %q, want %q as its owner settled", got, want)
	}
}

func checkFencedInPart(t T, e *Env) {
	info, a, b := e.two(2)
	e.until("a wanted partition", func() bool { return len(a.wanted) == 1 }, a, b)
	stale := make(map[int]driver.Claim)
	for p := range a.wanted {
		stale[p] = a.claims[p]
	}
	a.obey()
	e.until("one partition for each", func() bool { return len(b.claims) == 1 && len(a.claims) == 1 }, a, b)
	mine, theirs := a.partitions()[0], b.partitions()[0]
	e.publish(e.conn, batch(info, mine, numbered(1, 2)...), batch(info, theirs, numbered(11, 2)...))
	e.until("2 events for each", func() bool { return len(a.got) == 2 && len(b.got) == 2 }, a, b)
	lost, err := a.sub.Settle(t.Context(), []driver.Settlement{
		{Partition: theirs, Epoch: stale[theirs].Epoch, Position: b.got[1].Position},
		{Partition: mine, Epoch: a.claims[mine].Epoch, Position: a.got[1].Position},
	})
	if err != nil || !slices.Equal(lost, []int{theirs}) {
		t.Errorf("settling one stale and one good claim: lost %v, %v, want %v", lost, err, []int{theirs})
	}
	a.release(mine, "")
	a.close()
	b.release(theirs, "")
	b.close()
	next := e.join(e.conn, info.Name, "group")
	next.owns(2)
	if got, want := next.claims[mine].Position, a.got[1].Position; got != want {
		t.Errorf("partition %d: position %q, want %q as settled beside a stale claim", mine, got, want)
	}
	if got := next.claims[theirs].Position; got != "" {
		t.Errorf("partition %d: position %q was settled with a stale claim", theirs, got)
	}
}

func checkFencedSideLog(t T, e *Env) {
	ctx := t.Context()
	x := e.passOn()
	old, log := on[driver.SideLog](e, x.a.conn), capability[driver.SideLog](e)
	stale, owner, one, two := x.stale, x.owner, x.ds[3], x.ds[4]
	e.must("park", log.Park(ctx, owner, []driver.Parked{parked(one, driver.Waiting)}))
	e.must("mark", log.SetMarks(ctx, owner, []driver.Mark{{Position: two.Position, Attempts: 1}}))

	e.wantErr("Park", old.Park(ctx, stale, []driver.Parked{parked(two, driver.Dead)}), driver.ErrFenced)
	_, err := old.Unpark(ctx, stale, []string{one.Position})
	e.wantErr("Unpark", err, driver.ErrFenced)
	_, err = old.Due(ctx, stale, 10)
	e.wantErr("Due", err, driver.ErrFenced)
	_, err = old.Chain(ctx, stale, "", 10)
	e.wantErr("Chain", err, driver.ErrFenced)
	_, err = old.ParkedKeys(ctx, stale, 10)
	e.wantErr("ParkedKeys", err, driver.ErrFenced)
	e.wantErr("SetMarks", old.SetMarks(ctx, stale, []driver.Mark{{Position: two.Position}}), driver.ErrFenced)
	_, err = old.Marks(ctx, stale)
	e.wantErr("Marks", err, driver.ErrFenced)

	all, err := capability[driver.Letters](e).List(ctx, driver.LetterFilter{Group: "group", Topic: x.info.Name})
	if err != nil || len(all) != 1 || all[0].Position != one.Position || all[0].State != driver.Waiting {
		t.Errorf("the side log holds %v, %v, want the one record of its owner", all, err)
	}
	marks, err := log.Marks(ctx, owner)
	if err != nil || len(marks) != 1 || marks[0].Attempts != 1 {
		t.Errorf("marks are %v, %v, want the one of its owner", marks, err)
	}
}

func checkNeverBack(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 12)...))
	m := e.join(e.conn, info.Name, "group")
	m.take(12)
	m.settle(0, m.got[10].Position)
	m.settle(0, m.got[1].Position) // "2" after "11", which is less as text too
	m.settle(0, m.got[8].Position) // "9", which is more as text
	m.settle(0, "")
	if got, want := e.position(0, 1, m), m.got[10].Position; got != want {
		t.Errorf("the position is %q after lower ones, want %q", got, want)
	}
}

func checkFrozenLapses(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	e.publish(e.conn, batch(info, 0, numbered(1, 4)...), batch(info, 1, numbered(11, 4)...))
	a := e.join(e.open(), info.Name, "group")
	a.take(8)
	stale, handled := a.claims[0], ""
	for _, d := range a.got {
		if d.ID == "2" {
			handled = d.Position
		}
	}
	a.settle(0, handled)
	e.harness.Freeze(a.conn)
	b := e.join(e.open(), info.Name, "group")
	e.until("the partitions of the silent member", func() bool { return len(b.claims) == 2 }, b)
	b.take(6)
	c := b.claims[0]
	if !c.Suspect || c.Position != handled {
		t.Errorf("the claim is suspect: %v, from %q; want true, from %q", c.Suspect, c.Position, handled)
	}
	lost, err := a.sub.Settle(t.Context(), []driver.Settlement{
		{Partition: 0, Epoch: stale.Epoch, Position: a.at[0], Release: true},
	})
	if err == nil && !slices.Equal(lost, []int{0}) {
		t.Errorf("the member that woke up settled: lost %v, want partition 0", lost)
	}
	if e.features.SideLog {
		err := on[driver.SideLog](e, a.conn).Park(t.Context(), stale, []driver.Parked{parked(a.got[0], driver.Dead)})
		e.wantErr("Park by the member that woke up", err, driver.ErrFenced)
	}
	b.settle(0, "") // is still the new owner's
}

func checkFrozenSeen(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	a := e.join(e.open(), info.Name, "group")
	a.owns(1)
	standing := func() driver.PartitionLag { return e.lagOf(info, "group")[0] }
	if l := standing(); l.Member == "" || l.MemberGone || l.Lapses.IsZero() {
		t.Errorf("lag says member %q, gone %v, lapses %v, of a member that lives", l.Member, l.MemberGone, l.Lapses)
	}
	e.harness.Freeze(a.conn)
	e.eventually("the member counts as gone, or its lease has run out", func() bool {
		l := standing()
		return l.MemberGone || l.Member == ""
	})
	e.eventually("nobody owns the partition", func() bool {
		l := standing()
		return l.Member == "" && !l.MemberGone
	})
}
