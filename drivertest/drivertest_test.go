package drivertest_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/engine/deedmem"
)

// run runs checks on an engine that lies as prepared, in virtual time, and returns the
// results by name.
func run(
	t *testing.T, checks []drivertest.Check, prepare func(*liar, *counter), freezes bool,
) map[string]drivertest.Result {
	t.Helper()
	results := make(map[string]drivertest.Result)
	synctest.Test(t, func(t *testing.T) {
		url := "mem:" + rand.Text()
		shared := &counter{}
		h := drivertest.Harness{Open: func(ctx context.Context) (driver.Conn, error) {
			c, err := deedmem.Open(ctx, url, nil)
			if err != nil {
				return nil, err
			}
			l := &liar{Conn: c}
			prepare(l, shared)
			return l, nil
		}}
		h.Freeze = func(c driver.Conn) {
			if freezes {
				c.(*liar).Freeze()
			}
		}
		for _, r := range drivertest.Run(t.Context(), h, checks, nil) {
			results[r.Check.Name] = r
		}
	})
	return results
}

// named returns some of the checks.
func named(t *testing.T, names string) (checks []drivertest.Check) {
	t.Helper()
	for _, name := range strings.Fields(names) {
		i := slices.IndexFunc(drivertest.Checks(), func(c drivertest.Check) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("there is no check %q", name)
		}
		checks = append(checks, drivertest.Checks()[i])
	}
	return checks
}

func allLies() []lie {
	return slices.Concat(lies, memberLies, adminLies, delayLies, resetLies, retentionLies, streamLies, recordLies,
		backlogLies)
}

// TestEveryCheckCanFail wants a lie for every check: one that nothing fails proves
// nothing.
func TestEveryCheckCanFail(t *testing.T) {
	proven := make(map[string]bool)
	for _, lie := range allLies() {
		for _, name := range strings.Fields(lie.caughtBy) {
			proven[name] = true
		}
	}
	for _, lie := range airLies {
		for _, name := range strings.Fields(lie.caughtBy) {
			proven[name] = true
		}
	}
	for _, lie := range jointLies {
		for _, name := range strings.Fields(lie.caughtBy) {
			proven[name] = true
		}
	}
	for _, c := range drivertest.Checks() {
		if !proven[c.Name] {
			t.Errorf("no lie is caught by %s", c.Name)
		}
	}
}

func TestLiesAreCaught(t *testing.T) {
	for _, lie := range allLies() {
		t.Run(lie.name, func(t *testing.T) {
			for name, r := range run(t, named(t, lie.caughtBy), lie.prepare, true) {
				if r.Status != drivertest.Failed {
					t.Errorf("an engine that %s %s %s", lie.name, r.Status, name)
				}
			}
		})
	}
}

func TestHonestyIsNotPunished(t *testing.T) {
	stores := run(t, drivertest.Checks(), func(*liar, *counter) {}, true)
	queues := run(t, drivertest.Checks(), queueing, true)
	passes := runAir(t, drivertest.Checks(), func(*airLiar, *counter) {})
	for _, results := range []map[string]drivertest.Result{stores, passes, queues} {
		if len(results) != len(drivertest.Checks()) {
			t.Errorf("%d results of %d checks", len(results), len(drivertest.Checks()))
		}
		for name, r := range results {
			if r.Status == drivertest.Failed {
				t.Errorf("%s: %s", name, r.Detail)
			}
		}
	}
	joint := jointOnes()
	for name := range stores { // what one does not owe is the other's
		if slices.ContainsFunc(joint, func(c drivertest.Check) bool { return c.Name == name }) {
			continue // which TestHonestyInADatabaseIsNotPunished wants passed
		}
		if stores[name].Status != drivertest.Passed && passes[name].Status != drivertest.Passed &&
			queues[name].Status != drivertest.Passed {
			t.Errorf("%s: nobody owes it: %s, %s", name, stores[name].Detail, passes[name].Detail)
		}
	}
}

func TestFrozenMembersMustLapse(t *testing.T) {
	frozen := named(t, "frozen-member-lapses frozen-member-is-seen")
	for name, r := range run(t, frozen, func(*liar, *counter) {}, false) {
		if r.Status != drivertest.Failed {
			t.Errorf("members never lapse, yet %s is %s", name, r.Status)
		}
	}
}
