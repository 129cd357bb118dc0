package drivertest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var sideLogChecks = []Check{
	{
		Name:    "park-keeps-everything",
		Promise: "A parked record comes back with its event and all that is known of its failure.",
		Why:     "The dead letter is all that is left to find out what went wrong.",
		Needs:   needs(groups, sideLog),
		Run:     checkParkKeeps,
	},
	{
		Name:    "park-replaces",
		Promise: "Parking a (position, run) again replaces the record and keeps its ID, and does nothing for one behind.",
		Why:     "After a crash the same event is parked again; it must not be there twice, nor revive a dead letter.",
		Needs:   needs(groups, sideLog),
		Run:     checkParkReplaces,
	},
	{
		Name:    "park-behind-again",
		Promise: "A record that is there and asks to be behind stays as it is, dead or waiting.",
		Why:     "It was delivered again after a crash; that must neither revive a dead letter nor start a retry anew.",
		Needs:   needs(groups, sideLog),
		Run:     checkParkBehindAgain,
	},
	{
		Name:    "park-by-run",
		Promise: "The same position of another run is another record.",
		Why:     "A replay must not overwrite the dead letters of before.",
		Needs:   needs(groups, sideLog),
		Run:     checkParkByRun,
	},
	{
		Name:    "due-after-delay",
		Promise: "A waiting record is due when its delay has passed on the engine's clock, and not before.",
		Why:     "Backoff is what keeps a failing service from being hammered.",
		Needs:   needs(groups, sideLog),
		Run:     checkDueDelay,
	},
	{
		Name:    "due-limit",
		Promise: "Due returns the first record of at most limit keys; events without a key are each their own.",
		Why:     "Memory is bounded, and keyless events fail alone.",
		Needs:   needs(groups, sideLog),
		Run:     checkDueLimit,
	},
	{
		Name:    "side-log-of-its-partition",
		Promise: "Records belong to one group, topic and partition.",
		Why:     "A failure of one group must not hold back another.",
		Needs:   needs(groups, sideLog),
		Run:     checkSideLogApart,
	},
	{
		Name:    "side-log-survives-hand-over",
		Promise: "The next owner of a partition finds its records.",
		Why:     "A deployment must not forget what waits for a retry.",
		Needs:   needs(groups, sideLog),
		Run:     checkSideLogHandOver,
	},
}

// desk is one claimed partition with events to park.
type desk struct {
	*Env
	log   driver.SideLog
	info  driver.TopicInfo
	m     *member
	claim driver.Claim
	ds    []driver.Delivery
}

// desk publishes one event per key, in order, and claims their partition.
func (e *Env) desk(keys ...string) *desk {
	e.t.Helper()
	d := &desk{Env: e, log: capability[driver.SideLog](e), info: e.topic(driver.TopicSettings{Partitions: 1})}
	var ms []driver.Message
	for i, key := range keys {
		ms = append(ms, message(fmt.Sprint(i+1), key))
	}
	e.expect(d.info, "group", "another")
	e.publish(e.conn, batch(d.info, 0, ms...))
	d.m = e.join(e.conn, d.info.Name, "group")
	d.ds = d.m.take(len(keys))
	d.claim = d.m.claims[0]
	return d
}

// parked makes a record of a delivery.
func parked(d driver.Delivery, state driver.LetterState) driver.Parked {
	p := driver.Parked{Letter: driver.Letter{Delivery: d, State: state}}
	if state != driver.Behind {
		p.Reason, p.Error, p.Attempts, p.Failed = "exhausted", "it does not work", 3, d.Stored.Add(time.Second)
	}
	return p
}

// park parks the n-th event, from 1.
func (d *desk) park(n int, state driver.LetterState) {
	d.t.Helper()
	d.parkAll(parked(d.ds[n-1], state))
}

func (d *desk) parkAll(ps ...driver.Parked) {
	d.t.Helper()
	d.must("park", d.log.Park(d.t.Context(), d.claim, ps))
}

// unpark says that these events, from 1, were handled, and returns the empty keys.
func (d *desk) unpark(ns ...int) []string {
	d.t.Helper()
	var positions []string
	for _, n := range ns {
		positions = append(positions, d.ds[n-1].Position)
	}
	empty, err := d.log.Unpark(d.t.Context(), d.claim, positions)
	d.must("unpark", err)
	slices.Sort(empty)
	return empty
}

func (d *desk) due(limit int) []driver.Letter {
	d.t.Helper()
	ls, err := d.log.Due(d.t.Context(), d.claim, limit)
	d.must("due", err)
	return ls
}

// wantDue checks which events, by id, may be tried now, in any order.
func (d *desk) wantDue(when string, want ...string) {
	d.t.Helper()
	if got := sorted(letterIDs(d.due(100))); !slices.Equal(got, want) {
		d.t.Errorf("%s: due are %v, want %v", when, got, want)
	}
}

// all lists the records of the desk's topic.
func (d *desk) all() []driver.Letter {
	d.t.Helper()
	ls, err := capability[driver.Letters](d.Env).List(d.t.Context(), driver.LetterFilter{Topic: d.info.Name})
	d.must("list", err)
	return ls
}

// record returns the record of the n-th event, from 1.
func (d *desk) record(n int) driver.Letter {
	d.t.Helper()
	for _, l := range d.all() {
		if l.Position == d.ds[n-1].Position {
			return l
		}
	}
	d.t.Fatalf("event %d has no record", n)
	panic("unreachable")
}

// wantStates checks all records, in the form "1 dead".
func (d *desk) wantStates(when string, want ...string) {
	d.t.Helper()
	var got []string
	for _, l := range d.all() {
		got = append(got, fmt.Sprintf("%s %s", l.Message.ID, l.State))
	}
	if got = sorted(got); !slices.Equal(got, want) {
		d.t.Errorf("%s: records are %q, want %q", when, got, want)
	}
}

func letterIDs(ls []driver.Letter) []string {
	s := make([]string, len(ls))
	for i := range ls {
		s[i] = ls[i].Message.ID
	}
	return s
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func checkParkKeeps(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	ms := oddities()
	e.publish(e.conn, batch(info, 0, ms...))
	m := e.join(e.conn, info.Name, "group")
	ds := m.take(len(ms))
	log, letters := capability[driver.SideLog](e), capability[driver.Letters](e)
	var ps []driver.Parked
	for i, d := range ds {
		p := parked(d, driver.Dead)
		p.Attempts, p.Crashes = i+1, i
		p.Reason, p.Error, p.Stack = "rejected", "no \"such\" order: ü\n", "goroutine 1\n\tmain.go:7"
		ps = append(ps, p)
	}
	e.must("park", log.Park(t.Context(), m.claims[0], ps))
	got, err := letters.List(t.Context(), driver.LetterFilter{Group: "group", Topic: info.Name})
	e.must("list", err)
	if len(got) != len(ms) {
		t.Fatalf("%d records are there, want %d", len(got), len(ms))
	}
	for i, l := range got {
		want := ps[i]
		sameMessage(t, &l.Message, &want.Message)
		if l.Group != "group" || l.Topic != info.Name || l.Partition != 0 || l.Position != want.Position || l.ID < 1 {
			t.Errorf("record %d is of %s/%s/%d at %q, want group/%s/0 at %q",
				l.ID, l.Group, l.Topic, l.Partition, l.Position, info.Name, want.Position)
		}
		if l.State != driver.Dead || l.Aside || l.Attempts != want.Attempts || l.Crashes != want.Crashes ||
			l.Reason != want.Reason || l.Error != want.Error || l.Stack != want.Stack {
			t.Errorf("record %d is %s after %d attempts and %d crashes: %q %q %q, want what was parked",
				l.ID, l.State, l.Attempts, l.Crashes, l.Reason, l.Error, l.Stack)
		}
		if d := l.Failed.Sub(want.Failed).Abs(); d > time.Millisecond {
			t.Errorf("record %d failed at %v, want %v", l.ID, l.Failed, want.Failed)
		}
		if d := l.Stored.Sub(want.Stored).Abs(); d > time.Millisecond {
			t.Errorf("record %d was stored at %v, want %v", l.ID, l.Stored, want.Stored)
		}
	}
}

func checkParkReplaces(t T, e *Env) {
	d := e.desk("a", "b")
	d.park(1, driver.Waiting)
	d.park(2, driver.Waiting)
	before := d.record(1)
	again := parked(d.ds[0], driver.Dead)
	again.Attempts, again.Error = 8, "it still does not"
	again.Data = []byte("edited")
	d.parkAll(again)
	after := d.record(1)
	if len(d.all()) != 2 || after.ID != before.ID {
		t.Errorf("%d records, the first with ID %d after %d: want 2, and the same ID", len(d.all()), after.ID, before.ID)
	}
	if after.State != driver.Dead || after.Attempts != 8 || after.Error != again.Error {
		t.Errorf("the record is %s after %d attempts, %q: want what was parked last",
			after.State, after.Attempts, after.Error)
	}
	if !bytes.Equal(after.Data, again.Data) && !bytes.Equal(after.Data, d.ds[0].Data) {
		t.Errorf("its data is %s, which is neither copy", brief(after.Data))
	}
	d.park(1, driver.Behind) // delivered again behind itself
	if again := d.record(1); again.State != driver.Dead || again.Attempts != 8 {
		t.Errorf("parked again as behind it is %s after %d attempts: want the dead letter as it was",
			again.State, again.Attempts)
	}
	d.wantDue("one dead, one waiting", "2")
}

func checkParkBehindAgain(t T, e *Env) {
	d := e.desk("a", "a", "b")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	late := parked(d.ds[2], driver.Waiting)
	late.After = time.Hour
	d.parkAll(late)
	before := d.all()
	for n := 1; n <= 3; n++ {
		d.park(n, driver.Behind)
	}
	d.wantStates("all three again, behind", "1 dead", "2 behind", "3 waiting")
	d.wantDue("all three again, behind")
	for i, l := range d.all() {
		if l.ID != before[i].ID || l.Attempts != before[i].Attempts || l.Error != before[i].Error {
			t.Errorf("record %d has %d attempts and error %q, want it as it was: %d, %d, %q",
				l.ID, l.Attempts, l.Error, before[i].ID, before[i].Attempts, before[i].Error)
		}
	}
}

func checkParkByRun(t T, e *Env) {
	d := e.desk("a")
	first, second := parked(d.ds[0], driver.Dead), parked(d.ds[0], driver.Dead)
	second.Run = d.claim.Run + 1
	first.Run = d.claim.Run
	second.Error = "of the second run"
	d.parkAll(first)
	d.parkAll(second)
	got := d.all()
	if len(got) != 2 || got[0].Run == got[1].Run {
		t.Errorf("%d records are there, want one for each run", len(got))
	}
}

func checkDueDelay(t T, e *Env) {
	d := e.desk("a", "b", "c")
	const after = 300 * time.Millisecond
	late, never := parked(d.ds[1], driver.Waiting), parked(d.ds[2], driver.Waiting)
	late.After, never.After = after, time.Hour
	late.Due = time.Now().Add(-time.Hour) // is not what counts
	start := time.Now()
	d.parkAll(parked(d.ds[0], driver.Waiting), late, never)
	if got := letterIDs(d.due(10)); !slices.Equal(got, []string{"1"}) && time.Since(start) < after {
		t.Errorf("due at once are %v, want 1", got)
	}
	e.eventually("the second is due", func() bool { return len(d.due(10)) == 2 })
	if took := time.Since(start); took < after-20*time.Millisecond {
		t.Errorf("the second is due after %v, want %v", took, after)
	}
	d.wantDue("the third waits for an hour", "1", "2")
	if got := d.record(3); time.Until(got.Due).Round(time.Minute) != time.Hour {
		t.Errorf("the third is due at %v, which is %v from now, want an hour", got.Due, time.Until(got.Due))
	}
}

func checkDueLimit(t T, e *Env) {
	d := e.desk("a", "a", "b", "", "", "c")
	d.parkAll(parked(d.ds[0], driver.Waiting), parked(d.ds[1], driver.Behind), parked(d.ds[2], driver.Waiting),
		parked(d.ds[3], driver.Waiting), parked(d.ds[4], driver.Waiting), parked(d.ds[5], driver.Dead))
	d.wantDue("one for each key, none behind, none dead", "1", "3", "4", "5")
	if n := len(d.due(3)); n != 3 {
		t.Errorf("Due with a limit of 3 returns %d", n)
	}
	keys, err := d.log.ParkedKeys(t.Context(), d.claim, 10)
	e.must("parked keys", err)
	if got := sorted(keys); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("parked keys are %q, want a, b and c", got)
	}
	if keys, err = d.log.ParkedKeys(t.Context(), d.claim, 2); err != nil || len(keys) != 2 {
		t.Errorf("parked keys with a limit of 2 are %q, %v", keys, err)
	}
}

func checkSideLogApart(t T, e *Env) {
	d := e.desk("a")
	d.park(1, driver.Waiting)
	other := e.join(e.conn, d.info.Name, "another")
	other.owns(1)
	ls, err := d.log.Due(t.Context(), other.claims[0], 10)
	if err != nil || len(ls) > 0 {
		t.Errorf("another group's due are %v, %v, want none", letterIDs(ls), err)
	}
	empty, err := d.log.Unpark(t.Context(), other.claims[0], []string{d.ds[0].Position})
	if err != nil || len(empty) > 0 {
		t.Errorf("another group's unpark empties %v, %v, want nothing", empty, err)
	}
	other.take(1)
	e.must("park", d.log.Park(t.Context(), other.claims[0], []driver.Parked{parked(other.got[0], driver.Dead)}))
	d.wantDue("whatever the other group does", "1")
	if n := len(d.all()); n != 2 {
		t.Errorf("%d records are there, want one for each group", n)
	}
}

func checkSideLogHandOver(t T, e *Env) {
	d := e.desk("a", "a", "b")
	d.park(1, driver.Waiting)
	d.park(2, driver.Behind)
	d.park(3, driver.Dead)
	d.m.settle(0, d.ds[2].Position)
	d.m.close()
	next := e.join(e.open(), d.info.Name, "group")
	next.owns(1)
	d.log, d.claim = on[driver.SideLog](e, next.conn), next.claims[0]
	d.wantDue("at the next owner", "1")
	keys, err := d.log.ParkedKeys(t.Context(), d.claim, 10)
	if err != nil || !slices.Equal(sorted(keys), []string{"a", "b"}) {
		t.Errorf("parked keys at the next owner are %q, %v, want a and b", keys, err)
	}
	d.unpark(1)
	d.wantDue("after the first was handled there", "2")
}
