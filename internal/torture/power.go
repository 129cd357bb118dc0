package torture

import (
	"maps"
	"slices"
	"time"

	"github.com/deedgo/deed/internal/lossfs"
)

// outlet is a power cut: all processes die at once, the server of the bus too, and
// what none of them had synced is gone.
type outlet struct {
	cluster *Cluster
	disk    *lossfs.Disk
	server  Server // nil: the bus is a file
	tear    bool   // whether blocks of a write may be kept without those before them
	cuts    *uint64
}

func (outlet) Describe() string {
	return "all processes die, what was not synced is gone, and all start again"
}

func (o outlet) Start(string) error {
	for _, p := range o.cluster.processes {
		if err := p.Check(); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.cluster.processes)) {
		if err := o.cluster.processes[name].Kill(); err != nil {
			return err
		}
	}
	if o.server != nil {
		o.server.Kill()
	}
	*o.cuts++
	return o.disk.Cut(o.cluster.config.Seed<<16+*o.cuts, o.tear)
}

func (o outlet) Stop(string) error {
	if o.server != nil {
		o.server.Restart()
	}
	return o.cluster.startAll()
}

// PowerFault cuts the power of everything on Config.Disk, the server too where there is
// one. It touches all processes, so a run has no fault beside it but of the disk.
// Files that are appended to by a server which refuses to start with a torn end are not
// to be torn.
func (c *Cluster) PowerFault(server Server, tear bool, weight int) Fault {
	return Fault{
		Name: "power", Nemesis: outlet{c, c.config.Disk, server, tear, new(uint64)}, Targets: []string{"disk"},
		Weight: weight, Max: time.Second / 4,
	}
}

// PowerFaults are those of [Config].Disk: it loses what was not synced, and is full.
func PowerFaults(c *Cluster) []Fault {
	return []Fault{c.PowerFault(c.config.Server, !c.config.Whole, 3), c.FullFault(1)}
}

// full is a disk without room.
type full struct {
	disk   *lossfs.Disk
	server Server // as in outlet
}

func (full) Describe() string { return "no file can grow" }

func (f full) Start(string) error { return f.disk.Fill(true) }

// Stop also starts a server again that ended for want of room, as an operator does.
func (f full) Stop(string) error {
	if err := f.disk.Fill(false); err != nil {
		return err
	}
	if s, ok := f.server.(interface{ Ended() bool }); ok && s.Ended() {
		f.server.Restart()
	}
	return nil
}

// FullFault fills Config.Disk for up to two leases.
func (c *Cluster) FullFault(weight int) Fault {
	lease := c.config.Lease
	return Fault{
		Name: "full", Nemesis: full{c.config.Disk, c.config.Server}, Targets: []string{"disk"},
		Weight: weight, Min: lease / 4, Max: 2 * lease,
	}
}
