package drivertest

import (
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
)

var replayChecks = []Check{
	{
		Name:    "replay-is-what-was-committed",
		Promise: "After a reset a delivery is a replay exactly at or below what the group had committed there.",
		Why:     "Effects that must not happen twice are held back for replays, and must happen for everything else.",
		Needs:   needs(groups, reset),
		Run:     checkReplayCommitted,
	},
	{
		Name:    "replay-is-nothing-new",
		Promise: "What a group meets for the first time is no replay: it never committed what it started or was set behind.",
		Why:     "A quiet reset would leave out mails that were never sent.",
		Needs:   needs(groups, reset),
		Run:     checkReplayNew,
	},
	{
		Name:    "replay-after-two-resets",
		Promise: "A second reset forgets neither what was committed before the first nor what was since.",
		Why:     "Whoever resets to the wrong place resets again.",
		Needs:   needs(groups, reset),
		Run:     checkReplayTwice,
	},
	{
		Name:    "replay-in-its-run",
		Promise: "A claim tells the run that it is of and whether the last reset was quiet, to every later owner too.",
		Why:     "Effects once are counted per run, and a restart in the middle of a quiet replay must stay quiet.",
		Needs:   needs(groups, reset),
		Run:     checkReplayRun,
	},
	{
		Name:    "reset-leaves-letters",
		Promise: "A reset leaves parked and dead records as they are; the next run's are others.",
		Why:     "Setting a group back must not lose what somebody has to repair.",
		Needs:   needs(groups, reset, sideLog),
		Run:     checkResetLetters,
	},
	{
		Name:    "unpark-of-the-oldest-run",
		Promise: "Unpark removes the oldest run's record of a position that is not dead, and no other.",
		Why:     "That is the record whose event was handled; a dead letter of an earlier run still waits for its repair.",
		Needs:   needs(groups, reset, sideLog),
		Run:     checkUnparkRun,
	},
}

// run is the group "group" on a topic, by one member after the other.
type run struct {
	*Env
	info driver.TopicInfo
	m    *member
}

// handle joins, takes n events and settles the handled first ones of partition 0.
// It returns what came, as "1" or, for a replay, "1 replay".
func (r *run) handle(n, handled int) []string {
	r.t.Helper()
	r.m = r.join(r.open(), r.info.Name, "group")
	r.m.owns(r.info.Partitions)
	ds := r.m.take(n)
	if handled > 0 {
		r.m.settle(0, ds[handled-1].Position)
	}
	for p := range r.info.Partitions {
		r.m.release(p, "")
	}
	r.m.close()
	return replays(ds)
}

func replays(ds []driver.Delivery) []string {
	var out []string
	for _, d := range ds {
		if d.Replay {
			out = append(out, d.ID+" replay")
		} else {
			out = append(out, d.ID)
		}
	}
	return out
}

// wantReplays checks what a member got, replays marked.
func (e *Env) wantReplays(when string, got []string, want ...string) {
	e.t.Helper()
	if !slices.Equal(got, want) {
		e.t.Errorf("%s came %q, want %q", when, got, want)
	}
}

// newRun makes a topic of one partition with n events.
func (e *Env) newRun(n int) *run {
	e.t.Helper()
	r := &run{Env: e, info: e.topic(driver.TopicSettings{Partitions: 1})}
	e.publish(e.conn, batch(r.info, 0, numbered(1, n)...))
	return r
}

func checkReplayCommitted(t T, e *Env) {
	r := e.newRun(12)
	e.wantReplays("before any reset", r.handle(12, 11),
		"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")
	e.publish(e.conn, batch(r.info, 0, message("13", "")))
	e.reset(r.info, driver.Reset{})
	var want []string
	for i := range 13 {
		if i < 11 {
			want = append(want, fmt.Sprint(i+1, " replay"))
		} else {
			want = append(want, fmt.Sprint(i+1))
		}
	}
	e.wantReplays("11 of 12 were committed, a 13th published, then", r.handle(13, 0), want...)

	info, _ := e.history()
	m := e.join(e.conn, info.Name, "group")
	for _, d := range m.take(6) {
		if d.ID == "3" {
			m.settle(0, d.Position)
		}
	}
	m.release(0, "")
	m.release(1, "")
	m.close()
	e.reset(info, driver.Reset{})
	m = e.join(e.conn, info.Name, "group")
	e.wantReplays("1 and 3 of one partition were committed, nothing of the other:", sorted(replays(m.take(6))),
		"1 replay", "2", "3 replay", "4", "5", "6")
}

func checkReplayNew(t T, e *Env) {
	r := e.newRun(8)
	scout := e.join(e.conn, r.info.Name, "scout")
	ds := slices.Clone(scout.take(8))
	scout.close()
	m := e.joinFrom(e.conn, r.info.Name, "group", driver.From{Cursor: map[int]string{0: ds[3].Position}})
	e.wantReplays("to a group that started in the middle", replays(m.take(4)), "5", "6", "7", "8")
	m.release(0, "")
	m.close()
	e.reset(r.info, driver.Reset{Quiet: true})
	e.wantReplays("to a group that had started in the middle", r.handle(8, 2),
		"1", "2", "3", "4", "5", "6", "7", "8")
	e.reset(r.info, driver.Reset{To: driver.From{End: true}})
	e.publish(e.conn, batch(r.info, 0, message("9", "")))
	e.wantReplays("to a group set forward", r.handle(1, 0), "9")
	e.reset(r.info, driver.Reset{})
	e.wantReplays("to a group set forward and then back, that had committed 1 and 2", r.handle(9, 0),
		"1 replay", "2 replay", "3", "4", "5", "6", "7", "8", "9")
}

func checkReplayTwice(t T, e *Env) {
	r := e.newRun(6)
	r.handle(6, 4)
	first := r.m.got[0].Position
	e.reset(r.info, driver.Reset{})
	e.wantReplays("4 were committed, and then", r.handle(6, 2),
		"1 replay", "2 replay", "3 replay", "4 replay", "5", "6")
	e.reset(r.info, driver.Reset{To: driver.From{Cursor: map[int]string{0: first}}})
	e.wantReplays("2 of these were committed again, and then", r.handle(5, 4),
		"2 replay", "3 replay", "4 replay", "5", "6")
	e.reset(r.info, driver.Reset{})
	e.reset(r.info, driver.Reset{To: driver.From{Cursor: map[int]string{0: first}}})
	e.wantReplays("5 were committed, and two resets later", r.handle(5, 0),
		"2 replay", "3 replay", "4 replay", "5 replay", "6")
	if e.features.Lag {
		e.wantRun(r.info, 4)
	}
}

func checkReplayRun(t T, e *Env) {
	r := e.newRun(4)
	r.handle(4, 3)
	for i, quiet := range []bool{true, false, true} {
		e.reset(r.info, driver.Reset{Quiet: quiet})
		for _, want := range [][]string{
			{"1 replay", "2 replay", "3 replay", "4"},
			{"2 replay", "3 replay", "4"},
		} {
			m := e.join(e.open(), r.info.Name, "group")
			e.wantReplays("after a reset, to one owner after the other,", replays(m.take(len(want))), want...)
			if c := m.claims[0]; c.Run != i+1 || c.Quiet != quiet {
				t.Errorf("after reset number %d the claim is of run %d, quiet %v, want %v", i+1, c.Run, c.Quiet, quiet)
			}
			m.release(0, m.got[0].Position)
			m.close()
		}
	}
}

func checkResetLetters(t T, e *Env) {
	d := e.desk("a", "a", "b", "c")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	d.park(3, driver.Waiting)
	d.m.settle(0, d.ds[3].Position)
	before := d.record(1)
	e.reset(d.info, driver.Reset{Fence: true})
	d.wantStates("after the reset", "1 dead", "2 behind", "3 waiting")
	if after := d.record(1); after.ID != before.ID || after.Run != before.Run || after.Error != before.Error {
		t.Errorf("the dead letter is %+v after the reset, want it as it was: %+v", after, before)
	}
	d.m.got = nil
	e.wantReplays("the reset was to the start", replays(d.m.take(4)), "1 replay", "2 replay", "3 replay", "4 replay")
	d.claim = d.m.claims[0]
	d.wantDue("in the next run", "3")
	if e.features.Lag {
		if l := e.lagOf(d.info, "group")[0]; l.Events != 4 || l.Dead != 1 || l.Parked != 2 {
			t.Errorf("%d events behind, %d parked, %d dead; want all 4 again, 2 and 1", l.Events, l.Parked, l.Dead)
		}
	}
	again := parked(d.ds[0], driver.Dead)
	again.Run = d.claim.Run
	d.parkAll(again)
	d.wantStates("dead in both runs", "1 dead", "1 dead", "2 behind", "3 waiting")
	n, err := capability[driver.Letters](e).Discard(t.Context(), []int64{before.ID})
	if err != nil || n != 1 {
		t.Errorf("discarding the first run's letter: %d, %v", n, err)
	}
	d.wantStates("the first run's discarded", "1 dead", "2 waiting", "3 waiting")
}

func checkUnparkRun(t T, e *Env) {
	d := e.desk("a", "", "")
	d.park(1, driver.Waiting)
	d.park(2, driver.Dead)
	e.reset(d.info, driver.Reset{Fence: true})
	d.m.got = nil
	d.m.take(3)
	d.claim = d.m.claims[0]
	var ps []driver.Parked
	for i, state := range []driver.LetterState{driver.Behind, driver.Waiting, driver.Waiting} {
		p := parked(d.ds[i], state)
		p.Run = d.claim.Run
		ps = append(ps, p)
	}
	d.parkAll(ps...)
	wantRuns := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, l := range d.all() {
			got = append(got, fmt.Sprintf("%s of run %d %s", l.Message.ID, l.Run, l.State))
		}
		if !slices.Equal(sorted(got), want) {
			t.Errorf("%s records are %q, want %q", when, got, want)
		}
	}
	if empty := d.unpark(1); len(empty) > 0 {
		t.Errorf("the first run's record was handled, and %q are empty; the second run's is left", empty)
	}
	wantRuns("after the first run's was handled", "1 of run 1 waiting", "2 of run 0 dead", "2 of run 1 waiting",
		"3 of run 1 waiting")
	if empty := d.unpark(1); !slices.Equal(empty, []string{"a"}) {
		t.Errorf("both runs' records were handled, and %q are empty, want a", empty)
	}
	d.unpark(2, 3)
	wantRuns("after the dead one's other run was handled", "2 of run 0 dead")
}
