package torture

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// hardLoad has slow handlers in flight at any time, some of them in a transaction.
var hardLoad = Load{SlowIn: 20, Slow: 400 * time.Millisecond, Dwell: 2 * time.Millisecond}

// TestSQLite tortures one SQLite file for DEED_TORTURE, 15 s unless set, with the
// seed DEED_TORTURE_SEED, random unless set.
func TestSQLite(t *testing.T) {
	config := Config{Seed: rand.Uint64N(1_000_000), Load: hardLoad}
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
	result := tortured(t, config)
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if weak := result.Weak(); weak != "" {
		t.Error(weak)
	}
}

// Members that come and go cleanly under load lose nothing and break no order.
func TestMembersComeAndGo(t *testing.T) {
	result := tortured(t, Config{
		Seed: rand.Uint64N(1_000_000), For: 6 * time.Second, Gap: 300 * time.Millisecond, Publishers: 4, Consumers: 4,
		Faults: func(c *Cluster) []Fault { return []Fault{c.LeaveFault(c.Consumers[1:], 1)} },
	})
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if result.Faults["leave"] < 5 {
		t.Errorf("members left %d times, too few to prove anything", result.Faults["leave"])
	}
}

// tortured runs with workers of this test binary, unless the config names another.
func tortured(t *testing.T, config Config) *Result {
	t.Helper()
	config.Dir = t.TempDir()
	if config.Command == nil {
		config.Command = testCommand(t)
	}
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
