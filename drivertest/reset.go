package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var resetChecks = []Check{
	{
		Name:    "reset-to",
		Promise: "A reset sets a group to the start, the end, a time or a cursor, and starts its next run.",
		Why:     "\"Handle again what happened since noon\", and \"skip all this\", are how incidents end.",
		Needs:   needs(groups, reset),
		Run:     checkResetTo,
	},
	{
		Name:    "reset-of-nothing",
		Promise: "A reset of an absent group or topic is ErrNotFound, to a cursor outside of the log ErrRefused.",
		Why:     "A mistyped name must not start a new group, nor half a reset move one.",
		Needs:   needs(groups, reset),
		Run:     checkResetNothing,
	},
	{
		Name:    "reset-waits-for-members",
		Promise: "A reset without Fence is ErrBusy while members run, and changes nothing.",
		Why:     "Handlers that run would go on with what the reset took back.",
		Needs:   needs(groups, reset),
		Run:     checkResetBusy,
	},
	{
		Name:    "reset-fences",
		Promise: "A reset with Fence takes running members' partitions, which they claim anew in a later epoch, not suspect.",
		Why:     "Nobody wants to stop ten services to repair one group.",
		Needs:   needs(groups, reset),
		Run:     checkResetFence,
	},
	{
		Name:    "reset-fences-the-old-epoch",
		Promise: "What a member does in the epoch before the reset writes nothing.",
		Why:     "A handler that returns late would move the group past what it was set back to.",
		Needs:   needs(groups, reset),
		Run:     checkResetOldEpoch,
	},
	{
		Name:    "reset-of-one-group",
		Promise: "A reset touches no other group, and not this one on another topic.",
		Why:     "One team repairs its service; the others must not notice.",
		Needs:   needs(groups, reset),
		Run:     checkResetAlone,
	},
	{
		Name:    "unsafe-types-are-remembered",
		Promise: "A group remembers the types that its handlers cannot replay, as last declared.",
		Why:     "Whoever resets a group wants to know whether that sends the mails again.",
		Needs:   needs(groups, reset, lag),
		Run:     checkUnsafe,
	},
}

// reset sets a group and fails the check when that is not accepted.
func (e *Env) reset(info driver.TopicInfo, r driver.Reset) {
	e.t.Helper()
	e.must("reset", e.tryReset(info, r))
}

// tryReset resets the group "group".
func (e *Env) tryReset(info driver.TopicInfo, r driver.Reset) error {
	e.t.Helper()
	return capability[driver.Resetter](e).ResetGroup(e.t.Context(), "group", info.Name, r)
}

// handled joins the group "group", handles everything of a history and leaves. It
// returns the events by id.
func (e *Env) handled(info driver.TopicInfo) map[string]driver.Delivery {
	e.t.Helper()
	m := e.join(e.conn, info.Name, "group")
	byID := make(map[string]driver.Delivery)
	for _, d := range m.take(6) {
		byID[d.ID] = d
	}
	for p := range info.Partitions {
		m.release(p, m.at[p])
	}
	m.close()
	return byID
}

func checkResetTo(t T, e *Env) {
	info, middle := e.history()
	all := e.handled(info)
	for i, c := range []struct {
		what string
		to   driver.From
		want []string
	}{
		{"the start", driver.From{}, []string{"1", "2", "3", "4", "5", "6"}},
		{"the end", driver.From{End: true}, nil},
		{"a time", driver.From{Time: middle}, []string{"3", "4", "5", "6"}},
		{"a cursor", driver.From{Cursor: map[int]string{0: all["3"].Position, 1: all["6"].Position}}, []string{"5"}},
		{"a cursor for one partition", driver.From{Cursor: map[int]string{0: all["5"].Position}},
			[]string{"2", "4", "6"}},
		{"a cursor at the end", driver.From{Cursor: map[int]string{0: all["5"].Position, 1: all["6"].Position}}, nil},
		{"a time after everything", driver.From{Time: all["6"].Stored.Add(time.Hour)}, nil},
	} {
		e.reset(info, driver.Reset{To: c.to})
		m := e.join(e.open(), info.Name, "group")
		m.owns(2)
		got := sorted(ids(m.take(len(c.want))))
		if !slices.Equal(got, c.want) {
			t.Errorf("after a reset to %s came %v, want %v", c.what, got, c.want)
		}
		m.quiet("the reset was to " + c.what)
		for p, claim := range m.claims {
			if claim.Run != i+1 || claim.Suspect {
				t.Errorf("after reset number %d a claim is of run %d, suspect %v", i+1, claim.Run, claim.Suspect)
			}
			m.release(p, "") // and nothing handled
		}
		m.close()
		if e.features.Lag {
			e.wantRun(info, i+1)
		}
	}
}

// wantRun checks how often the group says it was reset.
func (e *Env) wantRun(info driver.TopicInfo, want int) {
	e.t.Helper()
	if g := e.groupInfo("group", info.Name); g == nil || g.Run != want {
		e.t.Errorf("after %d resets the group is %+v", want, g)
	}
}

func checkResetNothing(t T, e *Env) {
	ctx, resetter := t.Context(), capability[driver.Resetter](e)
	info, _ := e.history()
	e.wantErr("an absent group", e.tryReset(info, driver.Reset{}), driver.ErrNotFound)
	e.wantErr("an absent topic", resetter.ResetGroup(ctx, "group", e.freshName(), driver.Reset{}), driver.ErrNotFound)
	all := e.handled(info)
	for what, cursor := range map[string]map[int]string{
		"no position":         {0: all["1"].Position, 1: "no position"},
		"no partition":        {0: all["1"].Position, 7: all["1"].Position},
		"another partition":   {0: all["1"].Position, -1: all["1"].Position},
		"behind the last one": {0: all["1"].Position, 1: "1000000"},
	} {
		err := e.tryReset(info, driver.Reset{To: driver.From{Cursor: cursor}})
		if what != "behind the last one" || e.features.DensePos {
			e.wantErr("a cursor with "+what, err, driver.ErrRefused)
		}
	}
	m := e.join(e.conn, info.Name, "group")
	m.owns(2)
	m.quiet("nothing was reset")
	if c := m.claims[0]; c.Run != 0 || c.Position != all["5"].Position {
		t.Errorf("the group is at %q in run %d, want %q as before, and run 0", c.Position, c.Run, all["5"].Position)
	}
}

func checkResetBusy(t T, e *Env) {
	info, _ := e.history()
	e.handled(info)
	m := e.join(e.open(), info.Name, "group")
	m.owns(2)
	e.wantErr("a reset while a member runs", e.tryReset(info, driver.Reset{Quiet: true}), driver.ErrBusy)
	m.quiet("the reset was refused")
	m.settle(0, "") // is still its own
	if len(m.lost) > 0 {
		t.Errorf("the member lost %v to a reset that was refused", m.lost)
	}
	m.release(0, "")
	m.release(1, "")
	m.close()
	e.reset(info, driver.Reset{})
	m = e.join(e.conn, info.Name, "group")
	m.take(6)
	if c := m.claims[0]; c.Run != 1 || c.Quiet {
		t.Errorf("the claim is of run %d, quiet %v; want 1 and false: the first reset was refused", c.Run, c.Quiet)
	}
}

func checkResetFence(t T, e *Env) {
	info, _ := e.history()
	e.handled(info)
	a := e.join(e.open(), info.Name, "group")
	a.owns(2)
	b := e.join(e.open(), info.Name, "group")
	e.settleDown(2, []*member{a, b})
	before := []map[int]driver.Claim{a.claims, b.claims}
	a.claims, b.claims = make(map[int]driver.Claim), make(map[int]driver.Claim)
	e.reset(info, driver.Reset{Fence: true, Quiet: true})
	e.until("all events again, at both", func() bool {
		a.obey()
		b.obey()
		return len(a.got)+len(b.got) >= 6 && len(a.claims) == 1 && len(b.claims) == 1
	}, a, b)
	for i, m := range []*member{a, b} {
		for p, old := range before[i] {
			if !slices.Contains(m.lost, p) {
				t.Errorf("the member of partition %d was not told that it lost it", p)
			}
			for _, now := range []driver.Claim{a.claims[p], b.claims[p]} {
				if now.Epoch > 0 && (now.Epoch <= old.Epoch || now.Suspect || now.Run != 1 || !now.Quiet) {
					t.Errorf("partition %d: the claim is %+v after epoch %d; want a later epoch, not suspect, in run 1, quiet",
						p, now, old.Epoch)
				}
			}
		}
	}
	if got := sorted(slices.Concat(ids(a.got), ids(b.got))); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6"}) {
		t.Errorf("the members got %v, want 1 to 6", got)
	}
}

func checkResetOldEpoch(t T, e *Env) {
	ctx := t.Context()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, 6)...))
	m := e.join(e.open(), info.Name, "group")
	ds := slices.Clone(m.take(6))
	old := m.claims[0]
	m.settle(0, ds[3].Position)
	e.reset(info, driver.Reset{Fence: true})
	for _, release := range []bool{false, true} {
		lost, err := m.sub.Settle(ctx, []driver.Settlement{
			{Epoch: old.Epoch, Position: ds[5].Position, Release: release},
		})
		if err != nil || !slices.Equal(lost, []int{0}) {
			t.Errorf("settling in the old epoch, release %v: lost %v, %v, want partition 0", release, lost, err)
		}
	}
	if e.features.SideLog {
		log := on[driver.SideLog](e, m.conn)
		e.wantErr("Park in the old epoch",
			log.Park(ctx, old, []driver.Parked{parked(ds[0], driver.Dead)}), driver.ErrFenced)
		e.wantErr("SetMarks in the old epoch",
			log.SetMarks(ctx, old, []driver.Mark{{Position: ds[5].Position, Attempts: 1}}), driver.ErrFenced)
		e.wantNoLetters(info.Name)
	}
	m.got = nil
	m.take(6) // from the start, whatever was settled
	if now := m.claims[0]; now.Epoch <= old.Epoch || now.Position != "" || now.Suspect {
		t.Errorf("the claim is %+v after epoch %d, want a later one, from the start, not suspect", now, old.Epoch)
	}
	m.settle(0, m.got[1].Position)
}

func checkResetAlone(t T, e *Env) {
	info, _ := e.history()
	other, _ := e.history()
	e.handled(info)
	e.handled(other)
	m := e.join(e.conn, info.Name, "another")
	m.take(6)
	for p := range 2 {
		m.settle(p, m.at[p])
	}
	e.reset(info, driver.Reset{Fence: true})
	m.quiet("another group was reset")
	for p := range 2 {
		m.settle(p, "") // is still its own
	}
	if len(m.lost) > 0 || m.claims[0].Run != 0 {
		t.Errorf("another group lost %v and is in run %d", m.lost, m.claims[0].Run)
	}
	elsewhere := e.join(e.conn, other.Name, "group")
	elsewhere.owns(2)
	elsewhere.quiet("the group was reset on another topic")
}

func checkUnsafe(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	for _, declared := range [][]string{nil, {"orders.created", "orders.paid"}, {""}, nil} {
		sub, err := e.conn.Subscribe(t.Context(), driver.SubscribeSpec{
			Topic: info.Name, Group: "group", Lease: lease, Unsafe: declared,
		})
		e.must("subscribe", err)
		want := func(when string) {
			t.Helper()
			g := e.groupInfo("group", info.Name)
			if g == nil || !slices.Equal(sorted(slices.Clone(g.Unsafe)), declared) {
				t.Errorf("%s the group is %+v, want it to remember %q", when, g, declared)
			}
		}
		want("while it runs")
		e.must("close", sub.Close())
		want("after it ended")
	}
}
