package drivertest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/deedgo/deed/driver"
)

var membershipChecks = []Check{
	{
		Name:    "one-member-has-a-partition",
		Promise: "A partition belongs to one member at a time, and each event goes to one.",
		Why:     "Two members handling one key at once break its order and do things twice.",
		Needs:   needs(groups),
		Run:     checkOneOwner,
	},
	{
		Name:    "fair-share",
		Promise: "Members share the partitions fairly, and keep what they have where they can.",
		Why:     "A service that was scaled out has to get faster, and not shuffle everything.",
		Needs:   needs(groups),
		Run:     checkFairShare,
	},
	{
		Name:    "clean-hand-over",
		Promise: "A partition released goes to another member at once, after what was settled, and is not suspect.",
		Why:     "Every deployment does this; it must neither repeat work nor slow down.",
		Needs:   needs(groups),
		Run:     checkCleanHandOver,
	},
	{
		Name:    "wanted-is-not-fetched",
		Promise: "Nothing more is fetched from a wanted partition, and it stays until it is released.",
		Why:     "A running handler is never started elsewhere, and a drain has to come to an end.",
		Needs:   needs(groups),
		Run:     checkWantedNotFetched,
	},
	{
		Name:    "suspect-after-close",
		Promise: "A partition whose member closed without releasing it is suspect to the next one.",
		Why:     "What that member was handling may have killed it, and may kill the next.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			e.checkSuspect(func(m *member) { m.close() })
		},
	},
	{
		Name:    "suspect-after-lost-connection",
		Promise: "A partition whose connection closed without releasing it is suspect to the next member.",
		Why:     "A process that ends in a panic closes its connection, and nothing else.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			e.checkSuspect(func(m *member) { e.must("close the connection", m.conn.Close()) })
		},
	},
	{
		Name:    "epochs-grow",
		Promise: "Every claim to a partition has a larger epoch than the one before.",
		Why:     "The epoch is what tells a zombie from the member that took over.",
		Needs:   needs(groups),
		Run:     checkEpochsGrow,
	},
	{
		Name:    "busy-member-is-kept",
		Promise: "A member that handles for longer than its lease keeps its partitions.",
		Why:     "A slow handler must not be started a second time while it runs.",
		Needs:   needs(groups),
		Run:     checkBusyMember,
	},
}

// two makes a topic, one member that owns all of it and another that has joined.
func (e *Env) two(partitions int) (info driver.TopicInfo, a, b *member) {
	e.t.Helper()
	info = e.topic(driver.TopicSettings{Partitions: partitions})
	a = e.join(e.open(), info.Name, "group")
	a.owns(partitions)
	b = e.join(e.open(), info.Name, "group")
	return info, a, b
}

func checkOneOwner(t T, e *Env) {
	info, a, b := e.two(4)
	e.until("2 partitions for each", func() bool {
		a.obey()
		return len(a.claims) == 2 && len(b.claims) == 2
	}, a, b)
	if both := append(a.partitions(), b.partitions()...); len(slices.Compact(slices.Sorted(slices.Values(both)))) != 4 {
		t.Errorf("one has %v, the other %v, want all four between them", a.partitions(), b.partitions())
	}
	for p := range 4 {
		e.publish(e.conn, batch(info, p, numbered(p*10, 10)...))
	}
	e.until("40 events", func() bool { return len(a.got)+len(b.got) >= 40 }, a, b)
	e.during(2*turn, a, b)
	if n := len(a.got) + len(b.got); n != 40 || len(a.got) != 20 {
		t.Errorf("one got %d events, the other %d, want 20 each", len(a.got), len(b.got))
	}
}

func checkFairShare(t T, e *Env) {
	const partitions = 8
	_, a, b := e.two(partitions)
	had := a.partitions()
	members := []*member{a, b}
	e.settleDown(partitions, members)
	for _, p := range a.partitions() {
		if !slices.Contains(had, p) {
			t.Errorf("the first member has %v after %v, want a part of what it had", a.partitions(), had)
		}
	}
	members = append(members, e.join(e.open(), a.spec.Topic, "group"))
	e.settleDown(partitions, members)
	for p := range a.claims {
		a.release(p, "")
	}
	a.close()
	e.settleDown(partitions, members[1:])
}

// settleDown waits until the members share all partitions fairly.
func (e *Env) settleDown(partitions int, ms []*member) {
	e.t.Helper()
	floor := partitions / len(ms)
	e.until(fmt.Sprintf("a fair share of %d for each of %d", partitions, len(ms)), func() bool {
		all := 0
		fair := true
		for _, m := range ms {
			m.obey()
			all += len(m.claims)
			fair = fair && len(m.claims) >= floor && len(m.claims) <= floor+1
		}
		return fair && all == partitions
	}, ms...)
}

func checkCleanHandOver(t T, e *Env) {
	info, a, b := e.two(2)
	e.publish(e.conn, batch(info, 0, numbered(1, 6)...), batch(info, 1, numbered(11, 6)...))
	e.until("a wanted partition", func() bool { return len(a.wanted) == 1 }, a, b)
	p := slices.Collect(maps.Keys(a.wanted))[0]
	// What a member fetched before it heard of the wish, it may still handle: here a
	// half of that.
	fetched := of(a.got, p)
	handled, left := "", 6-len(fetched)/2
	if len(fetched) > 1 {
		handled = fetched[len(fetched)/2-1].Position
	}
	a.release(p, handled)
	e.until("the other member has it with its events", func() bool { return len(of(b.got, p)) == left }, b)
	c := b.claims[p]
	if c.Suspect {
		t.Errorf("the claim is suspect after a release")
	}
	if c.Position != handled {
		t.Errorf("the claim starts after %q, want %q", c.Position, handled)
	}
}

func checkWantedNotFetched(t T, e *Env) {
	info, a, b := e.two(2)
	e.until("a wanted partition", func() bool { return len(a.wanted) == 1 }, a, b)
	e.publish(e.conn, batch(info, 0, numbered(1, 3)...), batch(info, 1, numbered(11, 3)...))
	// Receive on the member is checked to fetch nothing from it.
	e.until("the events of the other partition", func() bool { return len(a.got) == 3 }, a, b)
	e.during(4*turn, a, b)
	if len(b.claims) > 0 {
		t.Errorf("the other member was granted %v before any release", b.partitions())
	}
	a.obey()
	e.until("its events, at the new member", func() bool { return len(b.got) == 3 }, a, b)
}

// checkSuspect ends a member that has handled 2 of 5 events and not more, and
// looks at what the next one is told.
func (e *Env) checkSuspect(end func(*member)) {
	t := e.t
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 5)...))
	m := e.join(e.open(), info.Name, "group")
	handled := m.take(5)[1].Position
	if m.claims[0].Suspect {
		t.Errorf("the first claim ever is suspect")
	}
	m.settle(0, handled)
	end(m)
	next := e.join(e.conn, info.Name, "group")
	got := ids(next.take(3))
	c := next.claims[0]
	if !c.Suspect {
		t.Errorf("the claim is not suspect after an end without a release")
	}
	if c.Position != handled || got[0] != "3" {
		t.Errorf("the claim starts after %q with event %s, want %q and 3", c.Position, got[0], handled)
	}
	next.release(0, next.got[2].Position)
	next.close()
	last := e.join(e.conn, info.Name, "group")
	last.owns(1)
	if last.claims[0].Suspect {
		t.Errorf("the claim is suspect although the member before released it")
	}
}

func checkEpochsGrow(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	for i := range 6 {
		m := e.join(e.conn, info.Name, "group")
		m.owns(1) // which checks the epoch against those before
		if m.claims[0].Epoch < 1 {
			t.Errorf("epoch is %d, want 1 or more", m.claims[0].Epoch)
		}
		if i%2 == 0 {
			m.release(0, "")
		}
		m.close()
	}
}

func checkBusyMember(t T, e *Env) {
	info, a, b := e.two(1)
	e.publish(e.conn, batch(info, 0, numbered(1, 2)...))
	a.take(2)
	e.during(2*lease+lease/2, b) // while a handles and does not call Receive
	if len(b.claims) > 0 {
		t.Errorf("the other member was granted %v while the first was busy", b.partitions())
	}
	a.settle(0, a.got[1].Position) // which fails when the claim was lost
}
