package torture

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// seedbug is a planted bug, with faults and a load that hit it, and the checks of which at
// least one has to see it.
type seedbug struct {
	name, what string
	seen       []string
	fault      func(c *Cluster) []Fault
	load       Load
	// engines are those that it is planted on; the others only where gateVar is set.
	engines, others []string
}

// gateVar is the variable of the environment that, set to all, plants each bug on each
// engine that it applies to, runs each load without its bug, and cuts the power of each
// server, which takes half an hour. Otherwise there is a selection.
const gateVar = "DEED_TORTURE_GATE"

func wholeGate() bool { return os.Getenv(gateVar) == "all" }

var seedbugs = []seedbug{
	{"epoch", "a member that lost its partition settles it all the same", []string{"two_owners", "regress"},
		func(c *Cluster) []Fault { return []Fault{c.AmbushFault(c.Consumers, 1)} },
		Load{SlowIn: 1000}, []string{"sqlite", "redis"}, []string{"postgres", "mysql"}},
	{"watermark", "the highest position is committed and not the lowest", []string{"lost", "skip"},
		killConsumers, Load{SlowIn: 20, Slow: 300 * time.Millisecond, Rate: 100},
		[]string{"sqlite"}, []string{"redis", "postgres", "mysql", "kafka"}},
	{"inbox", "the inbox's row commits before the effect does", []string{"lost", "skip"},
		killConsumers, Load{Dwell: 5 * time.Millisecond, Rate: 100},
		[]string{"sqlite"}, []string{"redis", "postgres", "mysql"}},
	{"parking", "an event of a key that is parked is handled at once", []string{"order", "dlq"},
		killConsumers, Load{SlowIn: 1000, Rate: 150}, []string{"sqlite"}, []string{"redis", "postgres", "mysql", "kafka"}},
	{"unpark", "an event is parked behind one that has just left", []string{"unseen", "lost", "left"},
		killConsumers, Load{PoisonIn: 20, SlowIn: 1000, Rate: 150},
		[]string{"sqlite"}, []string{"redis", "postgres", "mysql"}},
	{"replay", "a replay with effects has the inbox key of the live event", []string{"replay"},
		killConsumers, Load{Reset: time.Second, SlowIn: 1000, Rate: 100}, []string{"sqlite"}, []string{"postgres", "mysql"}},
	{"retention", "a sweep removes what a group has not handled", []string{"lost", "positions"},
		killConsumers, Load{Keep: 100 * time.Millisecond, SlowIn: 10, Slow: 300 * time.Millisecond, Rate: 200},
		[]string{"sqlite"}, []string{"redis", "postgres", "mysql"}},
	{"cursor", "a relay passes over what is committed late", []string{"lost", "unseen", "balance"},
		killRelays, Load{SlowIn: 1000, Writers: 4}, []string{"postgres"}, []string{"mysql"}},
	// On Redis it is seldom seen: the outbox asks what is stored, and sends again what is missing.
	{"confirm", "a relay notes that events were sent before they are", []string{"lost", "balance"},
		killServer, Load{SlowIn: 1000, Writers: 2}, nil, []string{"postgres", "mysql"}},
	{"stamps", "a relay does not say that it sends for the second time", []string{"dup_stored"},
		killServer, Load{SlowIn: 1000, Writers: 2}, []string{"mysql"}, []string{"redis", "postgres"}},
}

func killConsumers(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} }

func killRelays(c *Cluster) []Fault { return []Fault{c.KillFault(c.Relays, 1)} }

// killServer takes the bus away from the relays, too.
func killServer(c *Cluster) []Fault {
	return []Fault{c.ServerFault(c.config.Server, 1), c.KillFault(c.Relays, 1)}
}

// A test that cannot fail proves nothing: each planted bug has to be caught.
func TestPlantedBugsAreCaught(t *testing.T) {
	command := buildWorker(t, "seedbug")
	for _, bug := range seedbugs {
		config := Config{
			Seed: 1, For: 5 * time.Second, Gap: 600 * time.Millisecond, Faults: bug.fault, Load: bug.load,
			Publishers: 4, Stuck: 5 * time.Second, Command: command,
		}
		engines := bug.engines
		if wholeGate() {
			engines = slices.Concat(bug.engines, bug.others)
		}
		for _, engine := range engines {
			t.Run(bug.name+" on "+engine, func(t *testing.T) {
				t.Parallel()     // they mostly wait
				if wholeGate() { // the tests of the engines and TestUpkeepUnderFire are such runs, too
					config := config
					config.Stuck = 0 // as patient as any run: only a bug stands still for long
					config.Provide(t, engine)
					for _, name := range tortured(t, config).Broken() {
						t.Errorf("check %s found something without the bug", name)
					}
				}
				catch(t, config, engine, bug)
			})
		}
	}
}

// What no run hits in a few seconds is found out by a check that is about it.
func TestPlantedBugsAreCaughtByTheirChecks(t *testing.T) {
	const crashes = "TestOnlyTheEventThatEndsItsProcessDies"
	for _, c := range []struct {
		bug, pkg, run string
		verdicts      map[string]string
	}{
		{"version", "../../engine/deedsql", "^TestConformance$/^stream-", map[string]string{
			"TestConformance/stream-conflict": "FAIL", "TestConformance/stream-reads-back": "PASS"}},
		{"version", "../../engine/deedredis", "^TestConformance$/^stream-", map[string]string{
			"TestConformance/stream-conflict": "FAIL", "TestConformance/stream-reads-back": "PASS"}},
		{"gap", "../../engine/deedsql", "^Test(|Postgres|MySQL)Conformance$/^sequence-(gap|repeat)$", map[string]string{
			"TestConformance/sequence-gap": "FAIL", "TestConformance/sequence-repeat": "PASS",
			"TestPostgresConformance/sequence-gap": "FAIL", "TestMySQLConformance/sequence-gap": "FAIL"}},
		{"gap", "../../engine/deedredis", "^TestConformance$/^sequence-(gap|repeat)$", map[string]string{
			"TestConformance/sequence-gap": "FAIL", "TestConformance/sequence-repeat": "PASS"}},
		{"suspect", ".", "^" + crashes + "$", map[string]string{crashes: "FAIL"}},
	} {
		t.Run(c.bug+" by "+c.run+" in "+filepath.Base(c.pkg), func(t *testing.T) {
			t.Parallel()
			suite := exec.CommandContext(t.Context(), "go", "test", "-tags", "seedbug", "-count", "1", "-v",
				"-run", c.run, c.pkg)
			suite.Env = append(os.Environ(), "DEED_SEEDBUG="+c.bug)
			out, err := suite.CombinedOutput()
			if err == nil {
				t.Errorf("the tests pass with the bug")
			}
			for check, verdict := range c.verdicts {
				if line := "--- " + verdict + ": " + check + " "; !strings.Contains(string(out), line) {
					t.Errorf("%q is not in what the tests say:\n%s", line, out)
				}
			}
		})
	}
}

// catch plants a bug and wants one of the checks to see it. Chance decides whether a
// fault hits the bug, and it nearly always does.
func catch(t *testing.T, config Config, engine string, bug seedbug) {
	t.Helper()
	const seeds = 6 // on a slow machine a run has few faults
	config.Env = []string{"DEED_SEEDBUG=" + bug.name}
	for config.Seed = range uint64(seeds) {
		config := config
		config.Provide(t, engine)
		caught := func(name string) bool { return slices.Contains(bug.seen, name) }
		if slices.ContainsFunc(tortured(t, config).Broken(), caught) {
			return
		}
	}
	t.Errorf("%d runs did not see that %s", seeds, bug.what)
}
