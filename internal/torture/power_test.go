package torture

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/lossfs"
	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

// newDisk mounts a disk that forgets what was not synced.
func newDisk(t testing.TB, command []string) *lossfs.Disk {
	t.Helper()
	disk, err := lossfs.Mount(testserver.Home(t), command)
	if errors.Is(err, errors.ErrUnsupported) {
		testenv.Require(t, "root on Linux with /dev/fuse, to cut the power", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// TestPowerCuts cuts the power of each engine: its files, those of its server and the
// consumers' effects are on a disk of which the kernel has more than it keeps. It is full
// now and then. Which engines, see gateVar.
func TestPowerCuts(t *testing.T) {
	engines := []string{"sqlite", "postgres"}
	if wholeGate() {
		engines = SturdyNames()
	}
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel() // they mostly wait
			command := buildWorker(t, "")
			config := timed(t, Config{
				Disk: newDisk(t, command), Load: Hard, Command: command, Gap: 1500 * time.Millisecond, Faults: PowerFaults,
			})
			config.Provide(t, engine)
			result := tortured(t, config)
			for _, name := range result.Broken() {
				t.Errorf("check %s found %d violations", name, result.Violations[name])
			}
			if result.Faults["power"] == 0 {
				t.Error("the power was never cut, which proves nothing")
			}
		})
	}
}

// A server that ends for want of room is started again, and nothing is lost.
func TestServerOnAFullDisk(t *testing.T) {
	t.Parallel()
	command := buildWorker(t, "")
	config := Config{
		Disk: newDisk(t, command), Seed: rand.Uint64N(1_000_000), For: 5 * time.Second, Gap: 1500 * time.Millisecond,
		Publishers: 4, Command: command, Faults: func(c *Cluster) []Fault { return []Fault{c.FullFault(1)} },
	}
	config.Provide(t, "redis") // ends when it cannot write what it has to sync
	result := tortured(t, config)
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if result.Faults["full"] == 0 {
		t.Error("the disk was never full, which proves nothing")
	}
}

// unsynced are engines that acknowledge what is not on their disk: deed with a planted bug,
// and servers that are told to.
var unsynced = []struct {
	name, engine string
	plant        string   // DEED_SEEDBUG
	settings     []string // of the server
	broken       string   // what a server says that cannot even start again
	always       bool     // and not only where gateVar is set
}{
	{name: "SQLite", engine: "sqlite", plant: "sync", always: true},
	{name: "Postgres commits later", engine: "postgres",
		settings: []string{"synchronous_commit = off", "wal_writer_delay = 10s"}},
	{name: "Postgres never syncs", engine: "postgres", settings: []string{"fsync = off"}, broken: "start postgres",
		always: true},
	{name: "MariaDB", engine: "mysql", settings: []string{"innodb_flush_log_at_trx_commit = 0"}},
	{name: "Redis", engine: "redis", settings: []string{"appendfsync no"}},
}

// A commit that is acknowledged before it is on the disk has to be seen.
func TestPowerCutsFindUnsyncedCommits(t *testing.T) {
	for _, weak := range unsynced {
		if !weak.always && !wholeGate() {
			continue
		}
		t.Run(weak.name, func(t *testing.T) {
			t.Parallel()
			command := buildWorker(t, "seedbug")
			newDisk(t, command) // says what is missing, which in a program is no reason to skip
			const seeds = 4
			for seed := range uint64(seeds) {
				var result *Result
				// A program, since its server may fail without failing this test.
				err := testenv.Program(t.Context(), t.Logf, func(p testing.TB) {
					result = cutWhile(p, command, seed, weak.engine, weak.plant, weak.settings)
				})
				switch {
				case err != nil && (weak.broken == "" || !strings.Contains(err.Error(), weak.broken)):
					t.Errorf("seed %d: %v", seed, err)
					return
				case err != nil || slices.Contains(result.Broken(), "lost"):
					return
				}
			}
			t.Errorf("%d runs did not see that commits are acknowledged before they are synced", seeds)
		})
	}
}

// cutWhile runs a weak engine, whose power is cut.
func cutWhile(p testing.TB, command []string, seed uint64, engine, plant string, settings []string) *Result {
	config := Config{
		Disk: newDisk(p, command), Seed: seed, For: 6 * time.Second, Gap: 4 * time.Second, Publishers: 4,
		Stuck: 5 * time.Second, Command: command, Env: []string{"DEED_SEEDBUG=" + plant},
		Dir: p.TempDir(), Say: p.Logf,
		Faults: func(c *Cluster) []Fault {
			if settings != nil { // not before, so that the tables are there
				c.config.Server.Restart(settings...)
			}
			return []Fault{c.PowerFault(c.config.Server, !c.config.Whole, 1)}
		},
	}
	config.Provide(p, engine)
	result, err := Run(p.Context(), config)
	if err != nil {
		p.Fatal(err)
	}
	p.Log(result)
	return result
}
