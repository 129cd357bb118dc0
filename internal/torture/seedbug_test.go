package torture

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/redistest"
)

// Each planted bug, with faults and a load that hit it, and the checks of which at
// least one has to see it.
var seedbugs = []struct {
	name, what string
	seen       []string
	fault      func(c *Cluster) []Fault
	load       Load
	redis      bool // it is planted on Redis too
}{
	{"epoch", "a member that lost its partition settles it all the same", []string{"two_owners", "regress"},
		func(c *Cluster) []Fault { return []Fault{c.AmbushFault(c.Consumers, 1)} },
		Load{SlowIn: 1000}, true},
	{"watermark", "the highest position is committed and not the lowest", []string{"lost", "skip"},
		func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Load{SlowIn: 20, Slow: 300 * time.Millisecond, Rate: 100}, true},
	{"inbox", "the inbox's row commits before the effect does", []string{"lost", "skip"},
		func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Load{Dwell: 5 * time.Millisecond, Rate: 100}, true},
	{"unpark", "an event is parked behind one that has just left", []string{"unseen", "lost", "left"},
		func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Load{PoisonIn: 20, SlowIn: 1000, Rate: 150}, true},
	{"replay", "a replay with effects has the inbox key of the live event", []string{"replay"},
		func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Load{Reset: time.Second, SlowIn: 1000, Rate: 100}, false},
	{"retention", "a sweep removes what a group has not handled", []string{"lost", "positions"},
		func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Load{Keep: 100 * time.Millisecond, SlowIn: 10, Slow: 300 * time.Millisecond, Rate: 200}, true},
}

// A test that cannot fail proves nothing: each planted bug has to be caught.
func TestPlantedBugsAreCaught(t *testing.T) {
	command := buildWorker(t, "seedbug")
	for _, bug := range seedbugs {
		config := Config{
			Seed: 1, For: 5 * time.Second, Gap: 600 * time.Millisecond, Faults: bug.fault, Load: bug.load,
			Publishers: 4, Stuck: 5 * time.Second, Command: command,
		}
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			for _, name := range tortured(t, config).Broken() {
				t.Errorf("check %s found something without the bug", name)
			}
			catch(t, config, bug.name, bug.what, bug.seen)
		})
		if bug.redis {
			t.Run(bug.name+" on Redis", func(t *testing.T) {
				t.Parallel()
				config := config
				config.For = 3 * time.Second // TestRedis is the run without a bug, and a long one
				config.URL = redistest.Start(t, "appendonly yes", "appendfsync always").URL()
				catch(t, config, bug.name, bug.what, bug.seen)
			})
		}
	}
}

// Each engine that can ignore the version which an append expects is found out by the
// check that is about it.
func TestPlantedBugIsCaughtByConformance(t *testing.T) {
	for _, engine := range []string{"deedsql", "deedredis"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			suite := exec.CommandContext(t.Context(), "go", "test", "-tags", "seedbug", "-count", "1", "-v",
				"-run", "^TestConformance$/^stream-", "../../engine/"+engine)
			suite.Env = append(os.Environ(), "DEED_SEEDBUG=version")
			out, err := suite.CombinedOutput()
			if err == nil {
				t.Errorf("the suite passes on an engine that ignores the version")
			}
			for check, verdict := range map[string]string{
				"stream-conflict": "FAIL", "stream-concurrent": "FAIL", "stream-reads-back": "PASS",
			} {
				if line := "--- " + verdict + ": TestConformance/" + check + " "; !strings.Contains(string(out), line) {
					t.Errorf("%q is not in what the suite says:\n%s", line, out)
				}
			}
		})
	}
}

// catch plants a bug and wants one of the checks to see it. Chance decides whether a
// fault hits the bug, and it nearly always does.
func catch(t *testing.T, config Config, name, what string, seen []string) {
	t.Helper()
	const seeds = 4
	url := config.URL
	config.Env = []string{"DEED_SEEDBUG=" + name}
	for config.Seed = range uint64(seeds) {
		if url != "" { // a run wants a topic of its own
			config.URL = fmt.Sprintf("%s?prefix=run%d", url, config.Seed)
		}
		caught := func(name string) bool { return slices.Contains(seen, name) }
		if slices.ContainsFunc(tortured(t, config).Broken(), caught) {
			return
		}
	}
	t.Errorf("%d runs did not see that %s", seeds, what)
}
