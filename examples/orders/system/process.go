package system

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The services, in the order in which they start.
const (
	orderService        = "order"
	inventoryService    = "inventory"
	notificationService = "notification"
	analyticsService    = "analytics"
)

var allServices = []string{orderService, inventoryService, notificationService, analyticsService}

// edgeService starts last, and only where there are tills.
const edgeService = "edge"

// names are the services that run, in the order in which they start and stop.
func (o Options) names() []string {
	if o.Broker == "" {
		return allServices
	}
	return append(slices.Clone(allServices), edgeService)
}

// How long a process may take to start and to stop.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// services are the processes, by name. start, kill and stop belong to one
// goroutine; url may be called by all.
type services struct {
	o       Options
	mailURL string

	mu        sync.Mutex
	processes map[string]*process
}

type process struct {
	cmd   *exec.Cmd
	leash io.Closer // the process stops when its standard input ends
	log   *os.File
	url   string
}

func newServices(o Options, mailURL string) *services {
	return &services{o: o, mailURL: mailURL, processes: make(map[string]*process)}
}

// url returns where the service listens. It changes when the service restarts.
func (s *services) url(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.processes[name]; p != nil {
		return p.url
	}
	return ""
}

func (s *services) startAll(ctx context.Context) error {
	for _, name := range s.o.names() {
		if err := s.start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// start runs this program again as the service and waits until it works.
func (s *services) start(ctx context.Context, name string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	logName := filepath.Join(s.o.Dir, name+".log")
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "service", name, "-leash",
		"-bus", s.o.Bus, "-state", s.o.State, "-dir", s.o.Dir, "-lease", s.o.Lease.String(), "-mail", s.mailURL,
		"-broker", s.o.Broker, "-bridge", s.o.bridge)
	cmd.Stderr = log
	leash, err := cmd.StdinPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	p := &process{cmd: cmd, leash: leash, log: log}
	if p.url, err = p.readReady(ctx, stdout); err != nil {
		p.kill()
		return fmt.Errorf("start %s: %w%s", name, err, tail(logName))
	}
	s.mu.Lock()
	s.processes[name] = p
	s.mu.Unlock()
	return nil
}

// readReady waits for the line by which a service says that it works. One that says
// nothing in time is killed, which ends the waiting.
func (p *process) readReady(ctx context.Context, stdout io.Reader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	switch {
	case ok:
		return url, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("it was not ready: %w", ctx.Err())
	default:
		return "", fmt.Errorf("it ended, or said %q instead of where it listens", line)
	}
}

// tail returns the end of a log for an error message.
func tail(logName string) string {
	b, err := os.ReadFile(logName)
	if err != nil || len(b) == 0 {
		return ""
	}
	const enough = 1000
	return ": " + strings.TrimSpace(string(b[max(0, len(b)-enough):]))
}

// kill ends a service as a crash does: SIGKILL, nothing is finished or said.
func (s *services) kill(name string) {
	s.mu.Lock()
	p := s.processes[name]
	delete(s.processes, name)
	s.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

func (s *services) killAll() {
	for _, name := range s.o.names() {
		s.kill(name)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()
	_ = p.log.Close()
}

// stopAll ends the services as an operator does, the one that takes orders first,
// and wants each to end well.
func (s *services) stopAll() error {
	var errs []error
	for _, name := range s.o.names() {
		s.mu.Lock()
		p := s.processes[name]
		delete(s.processes, name)
		s.mu.Unlock()
		if p == nil {
			continue
		}
		if err := p.stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w%s", name, err, tail(p.log.Name())))
		}
	}
	return errors.Join(errs...)
}

func (p *process) stop() error {
	late := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	err := p.leash.Close()
	return errors.Join(err, p.cmd.Wait(), p.log.Close())
}
