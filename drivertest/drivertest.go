// Package drivertest checks that an engine keeps the promises of package driver.
//
// An engine's own test is one call:
//
//	func TestConformance(t *testing.T) {
//		drivertest.Test(t, drivertest.Harness{Open: open})
//	}
//
// "deed check URL" runs the same checks against an engine in use: their topics have
// names of their own and are deleted afterwards. There is one file per promise; a
// check says what is promised and why anybody should care.
//
// The package does not import testing, so that programs can link it.
package drivertest

import (
	"context"
	"slices"

	"github.com/deedgo/deed/driver"
)

// T is what a check needs of *testing.T.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Context() context.Context
	Cleanup(func())
}

// Harness says how to reach the engine under test.
type Harness struct {
	// Open connects to it. Each call is another member, on the same store.
	Open func(ctx context.Context) (driver.Conn, error)
	// Freeze makes the connection's members silent, as those of a stopped process
	// are: they stop renewing without being closed. Checks that need it do not
	// apply when it is nil.
	Freeze func(driver.Conn)
	// Database is a service's own, which the engine lives in. Checks of what the two do in
	// one transaction do not apply when it is nil.
	Database *Database
}

// Check is one promise, and the code that tries to catch the engine breaking it.
type Check struct {
	Name    string // unique, "order-of-a-key"
	Promise string // what the engine owes, a sentence
	Why     string // what goes wrong for users when it is not kept
	// Needs returns "" when the promise is the engine's, and else which feature it
	// lacks. Nil means that every engine owes it.
	Needs func(driver.Features) string
	// Takes is Needs for an interface of package driver that no feature tells of.
	Takes func(driver.Conn) string
	// Freezes says that the check needs Harness.Freeze.
	Freezes bool
	// Joint says that the check needs Harness.Database.
	Joint bool
	Run   func(T, *Env)
}

// Checks returns all checks, those of the simplest promises first.
func Checks() []Check {
	return slices.Concat(
		featuresChecks, topicsChecks, acceptedChecks, boundsChecks, completeChecks, startChecks, orderChecks,
		sequenceChecks, dedupeChecks, membershipChecks, fencingChecks, frozenChecks, sideLogChecks, chainChecks,
		marksChecks, lettersChecks, editChecks, groupsChecks, lagChecks, browseChecks, delayChecks,
		resetChecks, replayChecks, retentionChecks, streamsChecks, recordsChecks, closeChecks, ephemeralChecks,
		patternsChecks, jointChecks, intakeChecks,
	)
}

// Test runs every check as a subtest of t, which is a *testing.T. Those that the
// engine does not owe are skipped with the reason.
func Test[TT interface {
	T
	Run(string, func(TT)) bool
	Skipf(string, ...any)
}](t TT, h Harness) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t TT) {
			if reason := c.Test(t, h); reason != "" {
				t.Skipf("not promised: %s", reason)
			}
		})
	}
}

// Test runs the check, unless the engine does not owe it and the reason is
// returned. Failures are reported to t.
func (c Check) Test(t T, h Harness) (notPromised string) {
	t.Helper()
	e := newEnv(t, h)
	notPromised = c.Lacks(e.conn)
	if notPromised == "" && c.Freezes && h.Freeze == nil {
		notPromised = "members cannot be frozen here"
	}
	if notPromised == "" && c.Joint && h.Database == nil {
		notPromised = "no service's database is at hand"
	}
	if notPromised == "" {
		c.Run(t, e)
	}
	return notPromised
}

// Lacks returns why the engine does not owe the check, or "".
func (c Check) Lacks(conn driver.Conn) (reason string) {
	if c.Needs != nil {
		reason = c.Needs(conn.Features())
	}
	if reason == "" && c.Takes != nil {
		reason = c.Takes(conn)
	}
	return reason
}

// hasTopics is the Check.Takes of what is about topics as such.
func hasTopics(c driver.Conn) string {
	if _, ok := driver.As[driver.Topics](c); !ok {
		return "has no topics to create and describe"
	}
	return ""
}

// needs makes a Check.Needs of the features that a promise takes.
func needs(features ...feature) func(driver.Features) string {
	return func(f driver.Features) string {
		for _, x := range features {
			if !x.in(f) {
				return x.without
			}
		}
		return ""
	}
}

type feature struct {
	in      func(driver.Features) bool
	without string // the reason when it is missing
}

var (
	keyOrder = feature{func(f driver.Features) bool { return f.KeyOrder }, "keeps no order per key"}
	groups   = feature{func(f driver.Features) bool { return f.Groups }, "has no groups"}
	backlog  = feature{func(f driver.Features) bool { return f.Backlog }, "a new group gets what comes after it"}
	fenced   = feature{func(f driver.Features) bool { return f.Fenced }, "does not fence members"}
	densePos = feature{func(f driver.Features) bool { return f.DensePos }, "positions are not dense"}
	sequence = feature{func(f driver.Features) bool { return f.Sequence }, "checks no producer sequences"}
	dedupe   = feature{func(f driver.Features) bool { return f.Dedupe }, "has no id window"}
	sideLog  = feature{func(f driver.Features) bool { return f.SideLog }, "has no side log"}
	lag      = feature{func(f driver.Features) bool { return f.Lag }, "does not know lag"}
	browse   = feature{func(f driver.Features) bool { return f.Browse }, "cannot be read without a group"}
	delay    = feature{func(f driver.Features) bool { return f.Delay }, "delays nothing"}

	reset     = feature{func(f driver.Features) bool { return f.Reset }, "cannot set groups back"}
	ephemeral = feature{func(f driver.Features) bool { return f.Ephemeral }, "is not ephemeral: it stores events"}
	noBacklog = feature{func(f driver.Features) bool { return !f.Backlog }, "a new group gets what was there before it"}
	patterns  = feature{func(f driver.Features) bool { return f.Patterns }, "does not subscribe by pattern"}
	retention = feature{func(f driver.Features) bool { return f.Retention }, "removes nothing by itself"}
	streams   = feature{func(f driver.Features) bool { return f.Streams }, "has no streams"}
	records   = feature{func(f driver.Features) bool { return f.Records }, "keeps no records"}
)
