package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/lossfs"
)

// Config says what to torture, how, and for how long. The zero value of a field
// is its default.
type Config struct {
	Engine string // what the result calls it, where that is not the engine's own name
	URL    string // the bus; empty means a SQLite file on Disk, or in Dir
	// State is a second engine, for a bus that keeps no state; it is on a server.
	State string
	// Effects is the consumers' database: the URL of a Postgres database, "mysql:" and what
	// MySQL's driver calls one, or a SQLite file, which is on Disk or in Dir by default.
	Effects string
	// Together says that Provide and the defaults keep the effects in the bus's own database.
	Together bool
	// Network says that the workers reach the bus over connections that faults may
	// harm. The bus is on a server then.
	Network bool
	// Server is the private server that the bus is on, which comes to harm too. Nil: there
	// is none, or it is to be left alone.
	Server Server
	// StateServer is the same for State.
	StateServer Server
	Dir         string // for the processes' records and databases; must exist and be empty
	// Disk has the databases instead of Dir, if it is set, and may harm them.
	Disk *lossfs.Disk
	// Whole says that a power cut keeps all of what was written since the last sync of a
	// file or nothing, instead of any blocks of it.
	Whole bool
	Seed  uint64
	For   time.Duration // how long faults go on; 15 s

	Publishers int           // 8
	Consumers  int           // 3
	Lease      time.Duration // 1 s
	Gap        time.Duration // between faults, on average; 400 ms
	Stuck      time.Duration // a drain without any progress for so long has failed; 1 min
	Load       Load
	// Faults returns the faults of the run. Nil means [AllFaults].
	Faults func(c *Cluster) []Fault

	Command []string // a binary that calls Worker, with its arguments
	Env     []string // for the workers, beside the environment of this process
	// Say hears what happens, a line at a time.
	Say func(format string, args ...any)
}

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, "sqlite:"+c.data()+"/bus.db")
	if c.Together {
		c.Effects = cmp.Or(c.Effects, effectsAt(c.URL))
	}
	c.Effects = cmp.Or(c.Effects, c.data()+"/effects.db")
	c.For = cmp.Or(c.For, 15*time.Second)
	c.Publishers = cmp.Or(c.Publishers, 8)
	c.Consumers = cmp.Or(c.Consumers, 3)
	c.Lease = cmp.Or(c.Lease, time.Second)
	c.Gap = cmp.Or(c.Gap, 400*time.Millisecond)
	c.Stuck = cmp.Or(c.Stuck, time.Minute)
	c.Load = c.Load.withDefaults()
	if c.Faults == nil {
		c.Faults = AllFaults
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	return c
}

// data is where the databases are.
func (c Config) data() string {
	if c.Disk != nil {
		return c.Disk.Path()
	}
	return c.Dir
}

// Cluster is the processes of a run.
type Cluster struct {
	config     Config
	processes  map[string]*Process
	network    network // empty: every worker reaches the bus as it is
	Publishers []string
	Consumers  []string
	Writers    []string // see Load.Writers
	Relays     []string
}

// DefaultFaults kill and freeze processes of every role, and let consumers leave
// and come back. Consumers are chosen
// more often than their number says, since they have more to lose.
func DefaultFaults(c *Cluster) []Fault {
	publishers := slices.Concat(c.Publishers, c.Writers)
	faults := []Fault{
		c.KillFault(c.Consumers, 4), c.KillFault(publishers, 4),
		c.PauseFault(c.Consumers, 2), c.PauseFault(publishers, 1),
		c.AmbushFault(c.Consumers, 2), c.LeaveFault(c.Consumers, 1),
	}
	if len(c.Relays) > 0 {
		faults = append(faults, c.KillFault(c.Relays, 3), c.PauseFault(c.Relays, 1))
	}
	return faults
}

// AllFaults are all that can go side by side on what a run has: DefaultFaults, those of
// the network, transactions of others, and the end of the server.
func AllFaults(c *Cluster) []Fault {
	faults := append(append(DefaultFaults(c), c.StrangerFault(2)), c.NetworkFaults()...)
	if s := c.config.Server; s != nil {
		faults = append(faults, c.ServerFault(s, 2))
	}
	if s := c.config.StateServer; s != nil {
		faults = append(faults, c.StateFault(s, 1))
	}
	return faults
}

// AmbushFault freezes the targets right before they settle, for one and a half to
// three leases.
func (c *Cluster) AmbushFault(targets []string, weight int) Fault {
	f := c.PauseFault(targets, weight)
	f.Name, f.Nemesis = "ambush", ambush{freeze{c.processes}}
	return f
}

// LeaveFault ends the targets cleanly and starts them again within two seconds.
func (c *Cluster) LeaveFault(targets []string, weight int) Fault {
	return Fault{Name: "leave", Nemesis: leave{c.processes}, Targets: targets, Weight: weight, Max: 2 * time.Second}
}

// KillFault kills the targets and starts them again within a second.
func (c *Cluster) KillFault(targets []string, weight int) Fault {
	return Fault{Name: "kill", Nemesis: kill{c.processes}, Targets: targets, Weight: weight, Max: time.Second}
}

// PauseFault freezes the targets for one and a half to three leases.
func (c *Cluster) PauseFault(targets []string, weight int) Fault {
	lease := c.config.Lease
	return Fault{
		Name: "pause", Nemesis: freeze{c.processes}, Targets: targets, Weight: weight, Min: 3 * lease / 2, Max: 3 * lease,
	}
}

// Run tortures the bus and returns what came of it. An error means that the run
// itself failed: a worker ended by itself, or nothing moved any more. Broken
// promises are in the result.
func Run(ctx context.Context, config Config) (*Result, error) {
	config = config.withDefaults()
	cluster, err := newCluster(config)
	defer cluster.close()
	if err != nil {
		return nil, err
	}
	r := &run{config: config, cluster: cluster}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.torture(ctx); err != nil {
		return nil, err
	}
	if err := r.settle(ctx); err != nil {
		return nil, err
	}
	history, err := r.history(ctx)
	if err != nil {
		return nil, err
	}
	return newResult(config, r, history), nil
}

func newCluster(config Config) (*Cluster, error) {
	c := &Cluster{config: config, processes: map[string]*Process{}, network: network{}}
	add := func(role string, n int) (names []string, err error) {
		for slot := range n {
			job := Job{
				Role: role, Name: fmt.Sprintf("%s-%d", role, slot), Slot: slot,
				Dir: config.Dir, URL: config.URL, State: config.State, Effects: config.Effects,
				Lease: config.Lease, Seed: config.Seed, Load: config.Load,
			}
			if config.Network {
				if err := c.network.connect(&job); err != nil {
					return nil, err
				}
			}
			c.processes[job.Name] = NewProcess(config.Command, config.Env, job)
			names = append(names, job.Name)
		}
		return names, nil
	}
	var err error
	for _, r := range []struct {
		role  string
		n     int
		names *[]string
	}{
		{"publisher", config.Publishers, &c.Publishers}, {"consumer", config.Consumers, &c.Consumers},
		{"writer", config.Load.Writers, &c.Writers}, {"relay", config.Load.Writers, &c.Relays},
	} {
		if *r.names, err = add(r.role, r.n); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *Cluster) some(names []string) []*Process {
	ps := make([]*Process, len(names))
	for i, name := range names {
		ps[i] = c.processes[name]
	}
	return ps
}

func (c *Cluster) startAll() error {
	for _, name := range slices.Sorted(maps.Keys(c.processes)) {
		if err := c.processes[name].Start(); err != nil {
			return err
		}
	}
	return nil
}

// check returns an error when a worker ended by itself.
func (c *Cluster) check() error {
	for _, p := range c.processes {
		if err := p.Check(); err != nil {
			return err
		}
	}
	return nil
}

// close kills what runs, and ends the network.
func (c *Cluster) close() {
	for _, p := range c.processes {
		p.Kill()
	}
	c.network.close()
}

// run is one run in progress.
type run struct {
	config   Config
	cluster  *Cluster
	bus      *deed.Bus
	rec      *Recorder
	campaign *campaign
	letters  int           // in the side log before the redrive
	catchUp  time.Duration // from the last fault healed to lag 0
}

// prepare creates what the workers share, so that their first moments are not a
// race for it.
func (r *run) prepare(ctx context.Context) error {
	if err := createEffects(r.config.Effects); err != nil {
		return err
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	err := r.shortenKeep(ctx)
	if err == nil {
		err = r.gather(ctx)
	}
	if err == nil {
		r.rec, err = NewRecorder(r.config.Dir, "harness.1")
	}
	if err != nil {
		r.bus.Close()
	}
	return err
}

func (r *run) open(ctx context.Context) (err error) {
	r.bus, err = engine.Open(ctx, r.config.URL, &deed.Options{Source: "/torture", State: r.config.State})
	return err
}

func (r *run) close() {
	r.rec.Close()
	if r.bus != nil { // it did not open again on a server that does not start again
		r.bus.Close()
	}
}

// torture starts everything and carries out the schedule.
func (r *run) torture(ctx context.Context) error {
	faults := r.config.Faults(r.cluster)
	byName := map[string]Fault{}
	for _, f := range faults {
		byName[f.Name] = f
		r.config.Say("fault %s (weight %d): %s, of %v", f.Name, f.Weight, f.Nemesis.Describe(), f.Targets)
	}
	steps := Plan(r.config.Seed, r.config.For, r.config.Gap, faults)
	r.config.Say("seed %d: %d faults in %v", r.config.Seed, len(steps), r.config.For)
	if err := r.cluster.startAll(); err != nil {
		return err
	}
	r.campaign = &campaign{faults: byName, length: r.config.For, rec: r.rec, say: r.config.Say, counts: map[string]int{}}
	if r.config.Disk == nil {
		return r.during(ctx, func(ctx context.Context) error { return r.campaign.run(ctx, steps, r.cluster.check) })
	}
	// The bus would keep a file open of a disk that is taken away.
	if err := r.bus.Close(); err != nil {
		return err
	}
	err := r.campaign.run(ctx, steps, r.cluster.check)
	return errors.Join(err, r.open(context.WithoutCancel(ctx)))
}

// settle brings everything to rest: publishers finish, the groups drain, the dead
// letters are redriven to fixed handlers.
func (r *run) settle(ctx context.Context) error {
	r.config.Say("faults are over")
	for _, p := range r.cluster.processes {
		if err := p.Signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	healed := time.Now()
	limited, cancel := context.WithTimeout(ctx, 2*stubborn)
	defer cancel()
	if err := stopAll(limited, r.cluster.some(slices.Concat(r.cluster.Publishers, r.cluster.Writers))); err != nil {
		return err
	}
	r.config.Say("publishers have finished")
	if err := r.empty(ctx); err != nil {
		return err
	}
	if err := stopAll(limited, r.cluster.some(r.cluster.Relays)); err != nil {
		return err
	}
	letters, err := r.drain(ctx)
	if err != nil {
		return err
	}
	r.catchUp, r.letters = time.Since(healed), len(letters)
	r.rec.Record(letterOps(Letter, letters)...)
	r.config.Say("drained after %v, with %d dead letters and events parked behind them", r.catchUp, len(letters))

	for _, p := range r.cluster.some(r.cluster.Consumers) {
		if err := p.Stop(limited); err != nil {
			return err
		}
		p.Edit(func(j *Job) { j.Fixed = true })
		if err := p.Start(); err != nil {
			return err
		}
	}
	if err := r.redrive(ctx, letters); err != nil {
		return err
	}
	letters, err = r.drain(ctx)
	if err != nil {
		return err
	}
	r.rec.Record(letterOps(Left, letters)...)
	limited, cancel = context.WithTimeout(ctx, stubborn)
	defer cancel()
	return stopAll(limited, r.cluster.some(r.cluster.Consumers))
}
