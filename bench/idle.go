package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// idleLimit is the part of a core that a member may use while it waits.
	idleLimit = 0.01
	// wakeLimit is how soon a member that waits has what another process has published.
	wakeLimit = 50 * time.Millisecond

	idleWarm   = 20 * time.Second
	idleTime   = 2 * time.Minute
	idleEvents = 40
)

// idle is what was measured.
type idle struct {
	used, waited time.Duration   // of a processor, and in all
	late         []time.Duration // from an event's receipt to its arrival
}

// checkIdle fails when waiting takes too much or when what comes is late.
func checkIdle(ctx context.Context, s *settings, dir string) error {
	m, err := measureIdle(ctx, s, dir)
	if err != nil {
		return err
	}
	part, latest := m.used.Seconds()/m.waited.Seconds(), slices.Max(m.late)
	fmt.Printf("| waiting | of a core (at most %.0f %%) | events | woken after, p50 | max (at most %v) |\n"+
		"|---|--:|--:|--:|--:|\n| deed sub, sqlite, %v | %.2f %% | %d | %v | %v |\n", 100*idleLimit, wakeLimit,
		m.waited.Round(time.Second), 100*part, len(m.late), short(quantile(m.late, 0.5)), short(latest))
	var failed []error
	if m.used == 0 {
		failed = append(failed, errors.New("this system does not tell what a process has used: run it on Linux, for longer"))
	}
	if part > idleLimit {
		failed = append(failed, fmt.Errorf("waiting took %.2f %% of a core, more than %.0f", 100*part, 100*idleLimit))
	}
	if latest > wakeLimit {
		failed = append(failed, fmt.Errorf("an event came after %v, more than %v", latest, wakeLimit))
	}
	return errors.Join(failed...)
}

// measureIdle lets "deed sub" wait on an SQLite file and measures the processor time that
// it takes. Then "deed pub", a new process for each event, publishes at random moments,
// and the time from its receipt to the line that sub writes is measured.
func measureIdle(ctx context.Context, s *settings, dir string) (m idle, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return m, err
	}
	c := &idleCheck{deed: filepath.Join(dir, "deed"), url: "sqlite:" + filepath.Join(dir, "deed.db")}
	build := exec.CommandContext(ctx, "go", "build", "-o", c.deed, "./cmd/deed")
	build.Dir = ".." // this folder is a module of its own
	if out, err := build.CombinedOutput(); err != nil {
		return m, fmt.Errorf("build deed: %w: %s", err, out)
	}
	if out, err := c.command(ctx, "topics", "create", "orders").CombinedOutput(); err != nil {
		return m, fmt.Errorf("create the topic: %w: %s", err, out)
	}
	sub := c.command(ctx, "sub", "orders", "--group", "idle")
	lines, err := sub.StdoutPipe()
	if err != nil {
		return m, err
	}
	if err := sub.Start(); err != nil {
		return m, err
	}
	n := max(int(s.scale*idleEvents), 1)
	came := make(chan time.Time, n)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(came)
		for r := bufio.NewScanner(lines); r.Scan(); {
			came <- time.Now()
		}
	})
	if m.used, m.waited, err = idleFor(ctx, s, sub.Process.Pid); err == nil {
		m.late, err = c.wake(ctx, came, n)
	}
	err = errors.Join(err, sub.Process.Signal(os.Interrupt))
	reading.Wait()
	if waitErr := sub.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("deed sub: %w", waitErr))
	}
	return m, err
}

// idleCheck calls the command line.
type idleCheck struct{ deed, url string }

func (c *idleCheck) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.deed, append([]string{"--url", c.url}, args...)...)
}

// idleFor measures a process that waits, once it has settled.
func idleFor(ctx context.Context, s *settings, pid int) (used, waited time.Duration, err error) {
	if err := sleep(ctx, time.Duration(s.scale*float64(idleWarm))); err != nil {
		return 0, 0, err
	}
	fmt.Fprintln(os.Stderr, "measuring a member that waits")
	began, before := time.Now(), cpuOf(pid)
	if err := sleep(ctx, time.Duration(s.scale*float64(idleTime))); err != nil {
		return 0, 0, err
	}
	return cpuOf(pid) - before, time.Since(began), nil
}

// wake publishes n events and returns how long after its receipt each was there.
func (c *idleCheck) wake(ctx context.Context, came <-chan time.Time, n int) ([]time.Duration, error) {
	var late []time.Duration
	for i := range n {
		fmt.Fprintf(os.Stderr, "event %d of %d\n", i+1, n)
		if err := sleep(ctx, time.Second+rand.N(3*time.Second)); err != nil {
			return nil, err
		}
		accepted, err := c.publish(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case at, ok := <-came:
			if !ok {
				return nil, errors.New("deed sub has ended")
			}
			late = append(late, max(at.Sub(accepted), 0))
		case <-time.After(30 * time.Second):
			return nil, errors.New("an event did not come within 30 s")
		}
	}
	return late, nil
}

// publish returns when a process of its own had the receipt of one event.
func (c *idleCheck) publish(ctx context.Context) (accepted time.Time, err error) {
	pub := c.command(ctx, "pub", "orders")
	pub.Stdin = strings.NewReader("{\"n\": 1}\n")
	out, err := pub.StderrPipe()
	if err != nil {
		return accepted, err
	}
	if err := pub.Start(); err != nil {
		return accepted, err
	}
	receipt, err := bufio.NewReader(out).ReadString('\n')
	accepted = time.Now()
	if waitErr := pub.Wait(); waitErr != nil || !strings.HasPrefix(receipt, "1 published") {
		err = errors.Join(fmt.Errorf("deed pub said %q", receipt), err, waitErr)
	}
	return accepted, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
