package drivertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var lettersChecks = []Check{
	{
		Name:    "letters-listed",
		Promise: "List selects records by every field of its filter, and pages by ID.",
		Why:     "Somebody has to find one letter among thousands, at night.",
		Needs:   needs(groups, sideLog),
		Run:     checkListed,
	},
	{
		Name:    "letters-redriven",
		Promise: "Redrive marks dead letters, which are due then in the order of their key; it touches nothing else.",
		Why:     "After the repair the group alone handles them, before what waits behind.",
		Needs:   needs(groups, sideLog),
		Run:     checkRedriven,
	},
	{
		Name:    "letters-redriven-aside",
		Promise: "A dead letter that is aside can be redriven too.",
		Why:     "A group that skips dead letters wants them back some day.",
		Needs:   needs(groups, sideLog),
		Run:     checkRedrivenAside,
	},
	{
		Name:    "letters-discarded",
		Promise: "Discard removes dead letters for good, and what waits behind them goes on.",
		Why:     "One event nobody can handle must not stop its key for ever.",
		Needs:   needs(groups, sideLog),
		Run:     checkDiscarded,
	},
}

// letterIDsOf returns the engine's IDs of the records of these events, from 1.
func (d *desk) letterIDsOf(ns ...int) []int64 {
	d.t.Helper()
	var out []int64
	for _, n := range ns {
		out = append(out, d.record(n).ID)
	}
	return out
}

func checkListed(t T, e *Env) {
	d := e.desk("a", "a", "b", "", "c", "c")
	for i := range d.ds {
		d.ds[i].Type = fmt.Sprintf("type-%d", i%2) // 1, 3, 5 are of type-0
	}
	var ps []driver.Parked
	for i, state := range []driver.LetterState{
		driver.Dead, driver.Behind, driver.Waiting, driver.Dead, driver.Dead, driver.Behind,
	} {
		p := parked(d.ds[i], state)
		if state != driver.Behind {
			p.Failed = d.ds[0].Stored.Add(time.Duration(i) * time.Hour)
		}
		ps = append(ps, p)
	}
	d.parkAll(ps...)
	other := e.desk("a")
	other.park(1, driver.Dead)

	all := d.all()
	id := func(n int) int64 { return d.record(n).ID }
	for _, c := range []struct {
		what   string
		filter driver.LetterFilter
		want   []string
	}{
		{"of the topic", driver.LetterFilter{}, []string{"1", "2", "3", "4", "5", "6"}},
		{"of the group", driver.LetterFilter{Group: "group"}, []string{"1", "2", "3", "4", "5", "6"}},
		{"of another group", driver.LetterFilter{Group: "another"}, nil},
		{"of a key", driver.LetterFilter{Key: "a"}, []string{"1", "2"}},
		{"of a type", driver.LetterFilter{Type: "type-0"}, []string{"1", "3", "5"}},
		{"dead", driver.LetterFilter{States: []driver.LetterState{driver.Dead}}, []string{"1", "4", "5"}},
		{"dead or waiting", driver.LetterFilter{States: []driver.LetterState{driver.Dead, driver.Waiting}},
			[]string{"1", "3", "4", "5"}},
		{"by ID", driver.LetterFilter{IDs: []int64{id(2), id(5)}}, []string{"2", "5"}},
		{"failed since", driver.LetterFilter{
			Since: d.ds[0].Stored.Add(2*time.Hour + time.Minute), States: []driver.LetterState{driver.Dead},
		}, []string{"4", "5"}},
		{"of a key and a state", driver.LetterFilter{Key: "c", States: []driver.LetterState{driver.Dead}}, []string{"5"}},
		{"at most two", driver.LetterFilter{Limit: 2}, []string{"1", "2"}},
		{"after the second", driver.LetterFilter{After: all[1].ID}, []string{"3", "4", "5", "6"}},
		{"two after the second", driver.LetterFilter{After: all[1].ID, Limit: 2}, []string{"3", "4"}},
	} {
		c.filter.Topic = d.info.Name
		got, err := capability[driver.Letters](e).List(t.Context(), c.filter)
		if err != nil || !slices.Equal(letterIDs(got), c.want) {
			t.Errorf("%s: %v, %v, want %v", c.what, letterIDs(got), err, c.want)
		}
	}
	both, err := capability[driver.Letters](e).List(t.Context(), driver.LetterFilter{
		IDs: []int64{other.record(1).ID, id(1)},
	})
	if err != nil || len(both) != 2 || both[0].ID > both[1].ID {
		t.Errorf("two records of two topics by ID: %v, %v, want both in order", letterIDs(both), err)
	}
}

func checkRedriven(t T, e *Env) {
	letters := on[driver.Letters](e, e.open())
	d := e.desk("a", "a", "b", "", "a")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	waiting := parked(d.ds[2], driver.Waiting)
	waiting.After = time.Hour
	d.parkAll(waiting, parked(d.ds[3], driver.Dead))
	before := d.record(1)
	n, err := letters.Redrive(t.Context(), append(d.letterIDsOf(1, 2, 3, 4), 1<<40))
	if err != nil || n != 2 {
		t.Errorf("redriving two dead, one behind, one waiting and one absent marks %d, %v, want 2", n, err)
	}
	d.wantStates("redriven", "1 redriven", "2 behind", "3 waiting", "4 redriven")
	d.wantDue("redriven", "1", "4")
	if r := d.record(1); r.Attempts != before.Attempts || r.Error != before.Error {
		t.Errorf("the redriven record has %d attempts and %q, want its past: %d, %q",
			r.Attempts, r.Error, before.Attempts, before.Error)
	}
	d.park(5, driver.Behind) // while one is redriven, the key is held
	d.wantStates("one more of its key", "1 redriven", "2 behind", "3 waiting", "4 redriven", "5 behind")
	d.park(1, driver.Dead) // and it fails again
	d.wantDue("dead again", "4")
	if n, err = letters.Redrive(t.Context(), d.letterIDsOf(1)); err != nil || n != 1 {
		t.Errorf("redriving it again marks %d, %v, want 1", n, err)
	}
	d.unpark(1)
	d.wantDue("handled", "2", "4")
}

func checkRedrivenAside(t T, e *Env) {
	d := e.desk("a", "a")
	aside := parked(d.ds[0], driver.Dead)
	aside.Aside = true
	d.parkAll(aside)
	n, err := capability[driver.Letters](e).Redrive(t.Context(), d.letterIDsOf(1))
	if err != nil || n != 1 {
		t.Errorf("redrive marks %d, %v, want 1", n, err)
	}
	d.wantDue("redriven", "1")
	d.unpark(1)
	d.wantStates("handled")
}

func checkDiscarded(t T, e *Env) {
	letters := on[driver.Letters](e, e.open())
	d := e.desk("a", "a", "a", "b", "c")
	d.park(1, driver.Dead)
	d.park(2, driver.Behind)
	d.park(3, driver.Behind)
	d.park(4, driver.Waiting)
	d.park(5, driver.Dead)
	n, err := letters.Discard(t.Context(), append(d.letterIDsOf(1, 2, 4, 5), 1<<40))
	if err != nil || n != 2 {
		t.Errorf("discarding two dead, one behind, one waiting and one absent removes %d, %v, want 2", n, err)
	}
	d.wantStates("discarded", "2 waiting", "3 behind", "4 waiting")
	d.wantDue("discarded", "2", "4")
	keys, err := d.log.ParkedKeys(t.Context(), d.claim, 10)
	if err != nil || !slices.Equal(sorted(keys), []string{"a", "b"}) {
		t.Errorf("parked keys are %q, %v, want a and b", keys, err)
	}
}
