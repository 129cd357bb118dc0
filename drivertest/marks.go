package drivertest

import (
	"slices"

	"github.com/deedgo/deed/driver"
)

var marksChecks = []Check{
	{
		Name:    "marks",
		Promise: "Marks are kept by position, replaced, removed when empty, and returned above the claim's position.",
		Why:     "Attempts and crashes must be counted across restarts, or a poisonous event is tried for ever.",
		Needs:   needs(groups, sideLog),
		Run:     checkMarks,
	},
	{
		Name:    "marks-end-with-settle",
		Promise: "Settle removes the marks at or below the position that it stores.",
		Why:     "They would pile up, one for each event that ever failed.",
		Needs:   needs(groups, sideLog),
		Run:     checkMarksSettle,
	},
}

// marks returns the marks as a claim sees them.
func (d *desk) marks(claim driver.Claim) []driver.Mark {
	d.t.Helper()
	ms, err := d.log.Marks(d.t.Context(), claim)
	d.must("marks", err)
	return ms
}

func (d *desk) setMarks(ms ...driver.Mark) {
	d.t.Helper()
	d.must("set marks", d.log.SetMarks(d.t.Context(), d.claim, ms))
}

func checkMarks(t T, e *Env) {
	d := e.desk("a", "b", "c")
	one, two, three := d.ds[0].Position, d.ds[1].Position, d.ds[2].Position
	d.setMarks(driver.Mark{Position: one, Attempts: 1}, driver.Mark{Position: two, Crashes: 2},
		driver.Mark{Position: three, Attempts: 3, Crashes: 1})
	d.setMarks(driver.Mark{Position: one, Attempts: 2, Crashes: 1}, driver.Mark{Position: two})
	want := []driver.Mark{{Position: one, Attempts: 2, Crashes: 1}, {Position: three, Attempts: 3, Crashes: 1}}
	if got := d.marks(d.claim); !sameMarks(got, want) {
		t.Errorf("marks are %+v, want %+v", got, want)
	}
	d.m.close() // and not settled, as after a crash
	next := e.join(e.open(), d.info.Name, "group")
	next.owns(1)
	if got := d.marks(next.claims[0]); !sameMarks(got, want) {
		t.Errorf("marks at the next owner are %+v, want %+v", got, want)
	}
}

func checkMarksSettle(t T, e *Env) {
	d := e.desk("a", "b", "c", "d")
	var ms []driver.Mark
	for i, x := range d.ds {
		ms = append(ms, driver.Mark{Position: x.Position, Attempts: i + 1})
	}
	d.setMarks(ms...)
	d.m.settle(0, d.ds[1].Position)
	if got := d.marks(d.claim); !sameMarks(got, ms[2:]) {
		t.Errorf("marks after settling two of four are %+v, want %+v", got, ms[2:])
	}
	d.m.settle(0, "")
	if got := d.marks(d.claim); !sameMarks(got, ms[2:]) {
		t.Errorf("marks after settling nothing are %+v, want %+v", got, ms[2:])
	}
}

// sameMarks compares marks in any order.
func sameMarks(got, want []driver.Mark) bool {
	if len(got) != len(want) {
		return false
	}
	for _, m := range want {
		if !slices.Contains(got, m) {
			return false
		}
	}
	return true
}
