package torture

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/lossfs"
	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

// newDisk mounts a disk that forgets what was not synced.
func newDisk(t *testing.T, command []string) *lossfs.Disk {
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

// TestPowerCuts cuts the power of SQLite files, the bus and the consumers' effects, of
// which the kernel has more than the disk. The disk is full now and then.
func TestPowerCuts(t *testing.T) {
	t.Parallel() // it mostly waits
	command := buildWorker(t, "")
	result := tortured(t, timed(t, Config{
		Disk: newDisk(t, command), Load: Hard, Command: command, Gap: 1500 * time.Millisecond,
		Faults: func(c *Cluster) []Fault { return []Fault{c.PowerFault(nil, true, 3), c.FullFault(1)} },
	}))
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if result.Faults["power"] == 0 {
		t.Error("the power was never cut, which proves nothing")
	}
}

// A commit that is acknowledged before it is on the disk has to be seen.
func TestPowerCutsFindUnsyncedCommits(t *testing.T) {
	t.Parallel()
	command := buildWorker(t, "seedbug")
	const seeds = 4
	for seed := range uint64(seeds) {
		result := tortured(t, Config{
			Disk: newDisk(t, command), Seed: seed, For: 3 * time.Second, Gap: 600 * time.Millisecond, Publishers: 4,
			Stuck: 5 * time.Second, Command: command, Env: []string{"DEED_SEEDBUG=sync"},
			Faults: func(c *Cluster) []Fault { return []Fault{c.PowerFault(nil, true, 1)} },
		})
		if slices.Contains(result.Broken(), "lost") {
			return
		}
	}
	t.Errorf("%d runs did not see that commits are acknowledged before they are synced", seeds)
}
