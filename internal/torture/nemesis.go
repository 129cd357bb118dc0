package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// Nemesis does one kind of harm and heals it.
type Nemesis interface {
	// Describe says what it does, for the schedule.
	Describe() string
	// Start harms a target, which is whole.
	Start(target string) error
	// Stop heals a target that Start has harmed.
	Stop(target string) error
}

// Fault says how a run uses a nemesis.
type Fault struct {
	Name     string // what the result counts it under
	Nemesis  Nemesis
	Targets  []string
	Weight   int           // how often it is chosen, relative to the others
	Min, Max time.Duration // how long the harm lasts
}

// Step is one harm of a schedule.
type Step struct {
	At, For time.Duration
	Fault   string
	Target  string
}

// String writes the step on a line of the schedule.
func (s Step) String() string {
	at, lasts := s.At.Round(time.Millisecond), s.For.Round(time.Millisecond)
	return fmt.Sprintf("%8s %-5s %s for %s", at, s.Fault, s.Target, lasts)
}

// Plan draws a schedule from a seed: a step about every gap until the end, each on
// a target that no other step is harming then. The same arguments give the same
// schedule.
func Plan(seed uint64, length, gap time.Duration, faults []Fault) []Step {
	r := rand.New(rand.NewPCG(seed, 1))
	total := 0
	for _, f := range faults {
		total += f.Weight
	}
	var steps []Step
	busy := map[string]time.Duration{}
	for at := between(r, 0, gap); at < length && total > 0; at += between(r, gap/2, gap*3/2) {
		f := pick(r.IntN(total), faults)
		target := f.Targets[r.IntN(len(f.Targets))]
		s := Step{At: at, For: between(r, f.Min, f.Max), Fault: f.Name, Target: target}
		if busy[target] > at {
			continue
		}
		// A healed target is left alone for a moment, to do some work.
		busy[target] = at + s.For + gap/2
		steps = append(steps, s)
	}
	return steps
}

func pick(n int, faults []Fault) Fault {
	for _, f := range faults {
		if n -= f.Weight; n < 0 {
			return f
		}
	}
	return faults[len(faults)-1]
}

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// campaign carries out a schedule.
type campaign struct {
	faults map[string]Fault
	length time.Duration // steps that would begin later, since others took long, are left out
	rec    *Recorder
	say    func(format string, args ...any)

	mu     sync.Mutex
	counts map[string]int // how often each fault was started
}

// run carries out the steps and heals all of them, also when ctx ends first or a
// nemesis fails. Each target has its own goroutine: one that is slow to end may be
// waiting for another which is frozen, and that one has to be healed in time. What comes
// after a slow step on a target comes as much later, so that the target works between.
func (c *campaign) run(ctx context.Context, steps []Step, check func() error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	targets := map[string][]Step{}
	for _, s := range steps {
		targets[s.Target] = append(targets[s.Target], s)
	}
	started := time.Now()
	var wg sync.WaitGroup
	for _, steps := range targets {
		wg.Go(func() {
			late := time.Duration(0)
			for _, s := range steps {
				if s.At += late; s.At > c.length {
					return
				}
				if err := c.step(ctx, started, s, check); err != nil {
					stop(err)
					return
				}
				late += max(0, time.Since(started)-s.At-s.For)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// step does the harm of one step when it is time, and heals it when that is over.
func (c *campaign) step(ctx context.Context, started time.Time, s Step, check func() error) error {
	if err := waitUntil(ctx, started.Add(s.At), check); err != nil {
		return err
	}
	nemesis := c.faults[s.Fault].Nemesis
	c.mu.Lock()
	c.counts[s.Fault]++
	c.mu.Unlock()
	c.say("%v", s)
	c.rec.Record(Op{Do: Harm, Err: s.String()})
	if err := nemesis.Start(s.Target); err != nil {
		return err
	}
	err := waitUntil(ctx, time.Now().Add(s.For), check)
	c.rec.Record(Op{Do: Heal, Err: s.String()})
	return errors.Join(err, nemesis.Stop(s.Target))
}

// waitUntil waits and looks after the processes meanwhile.
func waitUntil(ctx context.Context, t time.Time, check func() error) error {
	for {
		if err := check(); err != nil {
			return err
		}
		d := time.Until(t)
		if d <= 0 {
			return nil
		}
		if err := pause(ctx, min(d, 100*time.Millisecond)); err != nil {
			return err
		}
	}
}

// pause waits for d, or for the end of ctx, which is an error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// kill is kill -9, and a restart.
type kill struct{ processes map[string]*Process }

func (kill) Describe() string { return "kill -9, and a restart" }

func (k kill) Start(target string) error {
	p := k.processes[target]
	if err := p.Check(); err != nil {
		return err // it was dead already, and that must not be taken for our doing
	}
	return p.Kill()
}

func (k kill) Stop(target string) error { return k.processes[target].Start() }

// freeze is SIGSTOP for longer than the lease, and SIGCONT: the process does not
// notice that it was gone.
type freeze struct{ processes map[string]*Process }

func (freeze) Describe() string            { return "SIGSTOP past the lease, and SIGCONT" }
func (f freeze) Start(target string) error { return f.processes[target].Signal(syscall.SIGSTOP) }
func (f freeze) Stop(target string) error  { return f.processes[target].Signal(syscall.SIGCONT) }

// ambush is a freeze at the worst moment: after a member has decided what to settle
// and before the engine has heard of it.
type ambush struct{ freeze }

func (ambush) Describe() string            { return "SIGSTOP right before it settles, and SIGCONT past the lease" }
func (a ambush) Start(target string) error { return a.processes[target].Ambush() }

// leave ends a process cleanly: SIGTERM, the drain, and a new start later.
type leave struct{ processes map[string]*Process }

func (leave) Describe() string { return "SIGTERM and a clean end, and a new start" }

func (l leave) Start(target string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return l.processes[target].Stop(ctx)
}

func (l leave) Stop(target string) error { return l.processes[target].Start() }
