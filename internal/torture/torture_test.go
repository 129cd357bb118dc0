package torture

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The tests of the engines torture one for DEED_TORTURE, 15 s unless set, with the seed
// DEED_TORTURE_SEED, random unless set. Besides the workers, their connections come to
// harm and the server itself, where there is one.
func TestSQLite(t *testing.T) { torturedOn(t, "sqlite") }

func TestRedis(t *testing.T) { torturedOn(t, "redis") }

func TestPostgres(t *testing.T) {
	t.Parallel() // it mostly waits
	torturedOn(t, "postgres")
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	torturedOn(t, "mysql")
}

func torturedOn(t *testing.T, engine string) {
	t.Helper()
	config := timed(t, Config{Load: Hard, Command: buildWorker(t, ""), Gap: 300 * time.Millisecond})
	config.Provide(t, engine)
	result := tortured(t, config)
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if weak := result.Weak(); weak != "" {
		t.Error(weak)
	}
}

// timed sets how long a run lasts and which seed it has.
func timed(t *testing.T, config Config) Config {
	t.Helper()
	config.Seed = rand.Uint64N(1_000_000)
	if s := os.Getenv("DEED_TORTURE"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("DEED_TORTURE: %v", err)
		}
		config.For = d
	}
	if s := os.Getenv("DEED_TORTURE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("DEED_TORTURE_SEED: %v", err)
		}
		config.Seed = seed
	}
	return config
}

// Kills while resets, a redrive at a rate, a sweep and live publishing go on at once.
func TestUpkeepUnderFire(t *testing.T) {
	t.Parallel()
	result := tortured(t, Config{
		Seed: rand.Uint64N(1_000_000), For: 12 * time.Second, Gap: 500 * time.Millisecond, Publishers: 4,
		Load: Upkeep, Command: buildWorker(t, ""),
	})
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	for _, what := range []Do{Redrive, Sweep, Reset} {
		if result.Upkeep[what] == 0 {
			t.Errorf("nothing was done of %s, which proves nothing", what)
		}
	}
}

// Members that come and go cleanly under load lose nothing and break no order.
func TestMembersComeAndGo(t *testing.T) {
	result := tortured(t, Config{
		Seed: rand.Uint64N(1_000_000), For: 6 * time.Second, Gap: 300 * time.Millisecond, Publishers: 4, Consumers: 4,
		Command: buildWorker(t, ""),
		Faults:  func(c *Cluster) []Fault { return []Fault{c.LeaveFault(c.Consumers[1:], 1)} },
	})
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if result.Faults["leave"] < 5 {
		t.Errorf("members left %d times, too few to prove anything", result.Faults["leave"])
	}
}

// buildWorker builds the command and returns it. The workers of a run are no test
// binaries, so that they are as fast under the race detector as without it: one
// that makes a process ten times slower would be the worst nemesis of all.
func buildWorker(t *testing.T, tags string) []string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "torture")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", binary, "./cmd/torture")
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return []string{binary}
}

// tortured runs the config in a directory of its own.
func tortured(t *testing.T, config Config) *Result {
	t.Helper()
	config.Dir = t.TempDir()
	config.Say = t.Logf
	result, err := Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(result)
	if s := result.Explain(); s != "" {
		t.Log(s)
	}
	return result
}
