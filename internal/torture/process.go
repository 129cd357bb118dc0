package torture

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Job tells a worker process what to be. It travels in the environment, so that
// any binary which calls [Worker] first thing can be one.
type Job struct {
	Role string // "publisher", "consumer", or what a test adds
	Name string // "publisher-3"
	Slot int    // 3
	Life int    // how often the process was started, from 1
	Dir  string // where it records
	URL  string // the bus
	// State is the bus's second engine, as Config has it.
	State string
	// Effects is the consumers' database, as Config has it.
	Effects string

	Lease time.Duration
	Seed  uint64
	Load  Load
	Fixed bool // handlers accept poisoned events

	Args map[string]string // what roles of tests want to know
}

// proc names the process and its life in the history.
func (j Job) proc() string { return fmt.Sprintf("%s.%d", j.Name, j.Life) }

const jobEnv = "DEED_TORTURE_JOB"

// Process is a worker that is killed, frozen and started again under one name. It
// is always waited for, so that no zombie is taken for a living process.
type Process struct {
	command []string
	env     []string

	mu      sync.Mutex
	job     Job
	cmd     *exec.Cmd
	leash   io.WriteCloser
	exited  chan struct{} // closed when the present life has ended
	state   *os.ProcessState
	willing bool // somebody asked for the end of the present life
}

// NewProcess prepares a worker. Command is a binary that calls [Worker], with its
// arguments; env is added to this process's environment.
func NewProcess(command, env []string, job Job) *Process {
	return &Process{command: command, env: env, job: job}
}

// Name returns the worker's name.
func (p *Process) Name() string { return p.job.Name }

// Edit changes the job of the next life.
func (p *Process) Edit(change func(*Job)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.job)
}

// Start begins the next life.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("start %s: it is running", p.job.Name)
	}
	p.job.Life++
	job, err := json.Marshal(p.job)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Env = append(append(os.Environ(), p.env...), jobEnv+"="+string(job))
	// The worker reads its standard input and ends with it, so that none is left
	// when this process dies.
	if p.leash, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := os.OpenFile(p.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.job.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.willing = cmd, exited, false
	go func() {
		cmd.Wait()
		p.mu.Lock()
		p.state = cmd.ProcessState
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

func (p *Process) logName() string { return filepath.Join(p.job.Dir, p.job.Name+".log") }

// running reports whether the present life goes on; mu is held.
func (p *Process) running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Exited returns a channel that is closed when the present life has ended.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// Signal sends sig to the present life.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("%v to %s: it is not running%s", sig, p.job.Name, p.lastWords())
	}
	return p.cmd.Process.Signal(sig)
}

// Ambush makes the present life freeze itself right before it settles next, which
// no signal from outside would hit. It is called off after half a lease, so that
// nothing freezes when nobody is there any more to thaw it.
func (p *Process) Ambush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("ambush %s: it is not running%s", p.job.Name, p.lastWords())
	}
	return binary.Write(p.leash, binary.LittleEndian, time.Now().Add(p.job.Lease/2).UnixNano())
}

// Kill ends the present life with SIGKILL, frozen or not, and waits for it.
func (p *Process) Kill() error {
	p.mu.Lock()
	exited := p.exited
	p.willing = true
	if p.running() {
		p.cmd.Process.Kill()
	}
	p.mu.Unlock()
	if exited != nil {
		<-exited
	}
	return nil
}

// Stop asks the present life to end, thaws it if it has to, and waits. Anything
// but exit status 0 is an error with what the worker said last. When ctx ends first
// the life ends with a dump of its goroutines.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	exited := p.exited
	p.willing = true
	if p.running() {
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	p.mu.Unlock()
	if exited == nil {
		return nil
	}
	select {
	case <-exited:
	case <-ctx.Done():
		p.Signal(syscall.SIGQUIT) // makes it write down where its goroutines are
		<-exited
		return fmt.Errorf("stop %s: %w%s", p.job.Name, context.Cause(ctx), p.lastWords())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// SIGTERM ends a process that was only just started before it can catch it.
	if w, ok := p.state.Sys().(syscall.WaitStatus); ok && w.Signaled() && w.Signal() == syscall.SIGTERM {
		return nil
	}
	if !p.state.Success() {
		return fmt.Errorf("stop %s: %v%s", p.job.Name, p.state, p.lastWords())
	}
	return nil
}

// Check returns an error when the present life ended and nobody had asked for it.
func (p *Process) Check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() || p.willing || p.exited == nil {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %v%s", p.job.Name, p.state, p.lastWords())
}

// lastWords returns the end of what the worker wrote to its standard error.
func (p *Process) lastWords() string {
	b, err := os.ReadFile(p.logName())
	if err != nil || len(b) == 0 {
		return ""
	}
	const enough = 20_000 // for a few dozen goroutines
	return "\n" + string(b[max(0, len(b)-enough):])
}

// stopAll stops processes at the same time and waits for all of them.
func stopAll(ctx context.Context, ps []*Process) error {
	errs := make([]error, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { errs[i] = p.Stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
