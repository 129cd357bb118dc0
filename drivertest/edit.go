package drivertest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/deedgo/deed/driver"
)

var editChecks = []Check{
	{
		Name:    "letter-edited",
		Promise: "Edit replaces the data of a dead letter, which tells who did it, when, why, and what was there before.",
		Why:     "A correction nobody can trace is a forgery.",
		Needs:   needs(groups, sideLog),
		Run:     checkEdited,
	},
	{
		Name:    "letter-edited-is-redriven",
		Promise: "An edited letter that is redriven comes with its new data; the log keeps the old.",
		Why:     "The repair is of one group's letter, and not of what happened.",
		Needs:   needs(groups, sideLog),
		Run:     checkEditedRedriven,
	},
	{
		Name:    "edit-of-dead-letters-only",
		Promise: "Nothing is edited but dead letters: an absent one is ErrNotFound, one that is not dead ErrRefused.",
		Why:     "What is being tried must not change under its handler.",
		Needs:   needs(groups, sideLog),
		Run:     checkEditDead,
	},
}

func checkEdited(t T, e *Env) {
	d := e.desk("a")
	d.park(1, driver.Dead)
	letters, before := on[driver.Letters](e, e.open()), d.record(1)
	change := driver.Edit{By: "ann", Why: "the amount had a comma", Data: []byte("first")}
	e.must("edit", letters.Edit(t.Context(), before.ID, change))
	change.Data[0] = 'X' // is the caller's again
	e.must("edit again", letters.Edit(t.Context(), before.ID, driver.Edit{By: "bob", Data: []byte{0, 255}}))
	after := d.record(1)
	if !bytes.Equal(after.Data, []byte{0, 255}) {
		t.Errorf("the data is %s, want that of the last edit", brief(after.Data))
	}
	if after.ID != before.ID || after.Position != before.Position || after.State != driver.Dead ||
		after.Attempts != before.Attempts || after.Error != before.Error || after.Key != before.Key {
		t.Errorf("the letter is %+v, want nothing but its data changed: %+v", after, before)
	}
	want := []driver.Edit{
		{By: "ann", Why: "the amount had a comma", Data: before.Data}, {By: "bob", Data: []byte("first")},
	}
	if len(after.Edits) != len(want) {
		t.Fatalf("the letter tells of %d edits, want %d", len(after.Edits), len(want))
	}
	for i, got := range after.Edits {
		if got.By != want[i].By || got.Why != want[i].Why || !bytes.Equal(got.Data, want[i].Data) ||
			time.Since(got.At).Abs() > time.Hour {
			t.Errorf("edit %d is by %q, why %q, data %s, at %v; want %q, %q, %s, now", i+1,
				got.By, got.Why, brief(got.Data), got.At, want[i].By, want[i].Why, brief(want[i].Data))
		}
	}
}

func checkEditedRedriven(t T, e *Env) {
	d := e.desk("a", "b")
	d.park(1, driver.Dead)
	letters := capability[driver.Letters](e)
	e.must("edit", letters.Edit(t.Context(), d.record(1).ID, driver.Edit{By: "ann", Data: []byte("repaired")}))
	if n, err := letters.Redrive(t.Context(), d.letterIDsOf(1)); err != nil || n != 1 {
		t.Errorf("redrive marks %d, %v, want 1", n, err)
	}
	due := d.due(10)
	if len(due) != 1 || string(due[0].Data) != "repaired" || len(due[0].Edits) != 1 {
		t.Fatalf("due is %+v, want the letter with its new data and its one edit", due)
	}
	failed := driver.Parked{Letter: due[0]} // it fails again, and is parked as it came
	failed.State, failed.Attempts = driver.Dead, due[0].Attempts+1
	d.parkAll(failed)
	if l := d.record(1); string(l.Data) != "repaired" || len(l.Edits) != 1 || l.Edits[0].By != "ann" {
		t.Errorf("dead again it has data %s and edits %+v, want both kept", brief(l.Data), l.Edits)
	}
	other := e.join(e.conn, d.info.Name, "another")
	if got := other.take(2)[0]; string(got.Data) != "data of 1" {
		t.Errorf("another group gets %s, want the event as it was published", brief(got.Data))
	}
}

func checkEditDead(t T, e *Env) {
	d := e.desk("a", "a", "b", "c")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	d.park(3, driver.Waiting)
	d.park(4, driver.Dead)
	letters := capability[driver.Letters](e)
	if n, err := letters.Redrive(t.Context(), d.letterIDsOf(4)); err != nil || n != 1 {
		t.Errorf("redrive marks %d, %v, want 1", n, err)
	}
	e.wantErr("an absent letter", letters.Edit(t.Context(), 1<<40, driver.Edit{Data: []byte("x")}), driver.ErrNotFound)
	for n := 2; n <= 4; n++ {
		l := d.record(n)
		err := letters.Edit(t.Context(), l.ID, driver.Edit{By: "ann", Data: []byte("x")})
		e.wantErr(fmt.Sprintf("a letter that is %s", l.State), err, driver.ErrRefused)
		if l = d.record(n); string(l.Data) != fmt.Sprint("data of ", n) || len(l.Edits) > 0 {
			t.Errorf("the letter that is %s has data %s and %d edits, want it as it was", l.State, brief(l.Data), len(l.Edits))
		}
	}
}
