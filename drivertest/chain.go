package drivertest

import (
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var chainChecks = []Check{
	{
		Name:    "behind-waits-its-turn",
		Promise: "A record behind another of its key is due only when all before it are gone, in order.",
		Why:     "This is how a failing event holds back its key and nothing else.",
		Needs:   needs(groups, sideLog),
		Run:     checkBehindWaits,
	},
	{
		Name:    "behind-nothing-goes-on",
		Promise: "A record that asks to be behind while nothing of its key is left waits instead, due now.",
		Why:     "The one before it may have been handled just now; nobody would ever wake this one.",
		Needs:   needs(groups, sideLog),
		Run:     checkBehindNothing,
	},
	{
		Name:    "unpark-names-empty-keys",
		Promise: "Unpark returns the keys of which nothing is left, and no others.",
		Why:     "Only then may the key's events go the fast way again.",
		Needs:   needs(groups, sideLog),
		Run:     checkUnparkEmpty,
	},
	{
		Name:    "dead-holds-its-key",
		Promise: "A dead record holds back its key; one that is aside does not.",
		Why:     "\"Paid\" must not be handled when \"created\" never was, unless the group says so.",
		Needs:   needs(groups, sideLog),
		Run:     checkDeadHolds,
	},
	{
		Name:    "chain-in-order",
		Promise: "Chain returns the first records of a key in the order of the log.",
		Why:     "What is handled from the side log is handled in order too.",
		Needs:   needs(groups, sideLog),
		Run:     checkChain,
	},
}

func checkBehindWaits(t T, e *Env) {
	d := e.desk("a", "a", "a", "b")
	d.park(1, driver.Waiting)
	d.parkAll(parked(d.ds[1], driver.Behind), parked(d.ds[2], driver.Behind))
	d.wantDue("three of a key", "1")
	d.wantStates("three of a key", "1 waiting", "2 behind", "3 behind")
	if empty := d.unpark(1); len(empty) > 0 {
		t.Errorf("unpark names %q as empty while two are left", empty)
	}
	d.wantDue("the first was handled", "2")
	d.wantStates("the first was handled", "2 waiting", "3 behind")
	dead := parked(d.ds[1], driver.Dead)
	d.parkAll(dead)
	d.wantDue("the second died")
	d.unpark(2)
	d.wantDue("the second was handled after all", "3")
	d.unpark(3)
	d.wantDue("all were handled")
}

func checkBehindNothing(t T, e *Env) {
	d := e.desk("a", "a", "b", "")
	d.park(2, driver.Behind)
	d.wantDue("behind nothing", "2")
	d.wantStates("behind nothing", "2 waiting")
	d.park(3, driver.Waiting)
	d.park(4, driver.Behind)
	d.wantDue("without a key there is nothing to be behind", "2", "3", "4")
	d.unpark(2, 3, 4)
	// A record that comes late, before one that already waits, goes first.
	d.park(2, driver.Behind)
	late := parked(d.ds[0], driver.Waiting)
	late.After = time.Hour
	d.parkAll(late)
	d.wantDue("behind one that came late")
	d.unpark(1, 2)
	// All in one call: the first is no reason for the second to wait for ever.
	d.parkAll(parked(d.ds[0], driver.Behind), parked(d.ds[1], driver.Behind))
	d.wantStates("both behind", "1 waiting", "2 behind")
}

func checkUnparkEmpty(t T, e *Env) {
	d := e.desk("a", "a", "b", "", "c")
	d.park(1, driver.Waiting)
	d.park(2, driver.Behind)
	d.park(3, driver.Waiting)
	d.park(4, driver.Waiting)
	d.park(5, driver.Dead)
	if empty := d.unpark(1, 3, 4); !slices.Equal(named(empty), []string{"b"}) {
		t.Errorf("unpark of a's first, b's only and a keyless one names %q as empty, want b", empty)
	}
	if empty := d.unpark(1); len(named(empty)) > 0 {
		t.Errorf("unpark of what is not there names %q as empty", empty)
	}
	if empty := d.unpark(2); !slices.Equal(empty, []string{"a"}) {
		t.Errorf("unpark of a's last names %q as empty, want a", empty)
	}
	d.wantStates("after all that", "5 dead")
}

// named leaves out the empty key, which is nobody's.
func named(keys []string) []string {
	return slices.DeleteFunc(keys, func(k string) bool { return k == "" })
}

func checkDeadHolds(t T, e *Env) {
	ctx := t.Context()
	d := e.desk("a", "a", "b", "b")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	aside := parked(d.ds[2], driver.Dead)
	aside.Aside = true
	d.parkAll(aside)
	d.wantDue("dead ones")
	d.wantStates("dead ones", "1 dead", "2 behind", "3 dead")
	if !d.record(3).Aside || d.record(1).Aside {
		t.Errorf("aside is %v of the first and %v of the third, want false and true", d.record(1).Aside, d.record(3).Aside)
	}
	keys, err := d.log.ParkedKeys(ctx, d.claim, 10)
	if err != nil || !slices.Equal(keys, []string{"a"}) {
		t.Errorf("parked keys are %q, %v, want only a: b's dead letter is aside", keys, err)
	}
	d.park(4, driver.Behind)
	d.wantDue("nothing holds back b", "4")
}

func checkChain(t T, e *Env) {
	ctx := t.Context()
	var names []string
	for range 12 {
		names = append(names, "a", "b")
	}
	d := e.desk(names...)
	var ps []driver.Parked
	for i, delivery := range d.ds {
		state := driver.Behind
		if i < 2 {
			state = driver.Waiting
		}
		ps = append(ps, parked(delivery, state))
	}
	d.parkAll(ps...)
	got, err := d.log.Chain(ctx, d.claim, "a", 100)
	e.must("chain", err)
	want := []string{"1", "3", "5", "7", "9", "11", "13", "15", "17", "19", "21", "23"}
	if !slices.Equal(letterIDs(got), want) {
		t.Errorf("the chain of a is %v, want %v", letterIDs(got), want)
	}
	if got, err = d.log.Chain(ctx, d.claim, "a", 5); err != nil || !slices.Equal(letterIDs(got), want[:5]) {
		t.Errorf("its first 5 are %v, %v, want %v", letterIDs(got), err, want[:5])
	}
	if got, err = d.log.Chain(ctx, d.claim, "no such key", 5); err != nil || len(got) > 0 {
		t.Errorf("the chain of an absent key is %v, %v, want none", letterIDs(got), err)
	}
}
