// Command testall runs every check and test of the repository and ends with one
// line that says how many passed and failed. It needs Go and the network to fetch
// modules; a C compiler adds the race detector.
//
//	go run ./internal/testall            # everything
//	go run ./internal/testall ./outbox   # everything about some packages
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// wholeLimit ends a run that hangs outside of a test.
	wholeLimit = 80 * time.Minute
	// packageLimit ends one package's tests with the stacks of all goroutines.
	packageLimit = 20 * time.Minute
)

func main() {
	noRace := flag.Bool("no-race", false, "do not use the race detector")
	serversOnly := flag.Bool("servers", false, "only install the servers that the tests want")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./internal/testall [-no-race] [-servers] [packages]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, wholeLimit, errors.New("the run took too long"))
	defer cancel()

	provideServers(ctx, os.Stdout, servers, debian{root: "/", run: runSystem})
	if *serversOnly {
		return
	}
	r := &runner{out: os.Stdout, start: time.Now()}
	if err := r.run(ctx, flag.Args(), !*noRace); err != nil { // what failed until then is shown all the same
		r.failed++
		r.failures = append(r.failures, "the run itself\n"+err.Error())
	}
	if !r.summary() {
		os.Exit(1)
	}
}

// runner runs the checks one after the other and counts.
type runner struct {
	out   io.Writer
	start time.Time

	passed, failed int
	slow           slowest
	skips          []skip
	failures       []string // whole texts that begin with a line of where, shown at the end
}

// run checks packages, or everything when there are none. Its error means that it
// could not go on; what failed is in r.
func (r *runner) run(ctx context.Context, packages []string, race bool) error {
	root, err := goEnv(ctx, "GOMOD")
	if err != nil {
		return err
	}
	root = filepath.Dir(root)
	modules := []string{root}
	whole := len(packages) == 0
	if whole {
		packages = []string{"./..."}
		if modules, err = findModules(root); err != nil {
			return err
		}
	}
	args := []string{"test", "-json", "-count=1", "-vet=off", fmt.Sprintf("-timeout=%v", packageLimit)} // vet comes first
	race = race && r.raceWorks(ctx)
	for _, dir := range modules {
		stages, err := findPackages(ctx, dir, packages)
		if err != nil {
			return err
		}
		if len(stages) == 0 {
			continue
		}
		r.check(ctx, dir, "go vet", append([]string{"vet"}, packages...))
		tools := filepath.Join(root, "tools", "go.mod")
		r.check(ctx, dir, "staticcheck", append([]string{"tool", "-modfile=" + tools, "staticcheck"}, packages...))
		args := args
		if race && dir == root { // elsewhere are programs that measure, and what they measure is tested here
			args = append(slices.Clone(args), "-race")
		}
		for _, stage := range stages {
			if err := r.test(ctx, dir, slices.Concat(args, stage)); err != nil {
				return err
			}
		}
	}
	if whole {
		r.checkMemory(ctx, root)
	}
	return nil
}

// checkMemory watches memory under a tenth of what make bench-memory does. It is no
// test of package bench, since the race detector needs a lot of memory itself.
func (r *runner) checkMemory(ctx context.Context, root string) {
	r.check(ctx, filepath.Join(root, "bench"), "memory", []string{"run", ".", "-memory", "-scale", "0.1"})
}

// raceWorks reports whether the race detector can be built here, and says so
// loudly when it cannot.
func (r *runner) raceWorks(ctx context.Context) bool {
	out, err := command(ctx, ".", "build", "-race", "runtime/cgo").CombinedOutput()
	if err == nil {
		return true
	}
	fmt.Fprintf(r.out, "\n  *** WITHOUT THE RACE DETECTOR: it needs a C compiler, and here is none that works.\n"+
		"  *** Install gcc or clang for it. go build -race said: %s\n\n", firstLine(out))
	return false
}

// check runs a go command that prints nothing when all is well.
func (r *runner) check(ctx context.Context, dir, name string, args []string) {
	began := time.Now()
	out, err := command(ctx, dir, args...).CombinedOutput()
	if err != nil {
		r.failed++
		r.failures = append(r.failures, fmt.Sprintf("%s: %v\n%s", name, err, out))
		fmt.Fprintf(r.out, "FAIL  %s\n", name)
		return
	}
	r.passed++
	fmt.Fprintf(r.out, "ok    %-44s %6.1fs\n", name, time.Since(began).Seconds())
}

// summary prints what was skipped, what failed and the last line. It reports
// whether all is well. What failed is named once more at the very end, for who
// sees only that.
func (r *runner) summary() bool {
	r.slow.print(r.out)
	r.printSkips()
	for _, f := range r.failures {
		fmt.Fprintf(r.out, "\n--- %s\n", f)
	}
	for _, f := range r.failures {
		fmt.Fprintf(r.out, "FAIL  %s\n", firstLine([]byte(f)))
	}
	fmt.Fprintf(r.out, "\ntook %v\n%d passed, %d failed\n", time.Since(r.start).Round(time.Second), r.passed, r.failed)
	return r.failed == 0
}

// command is a go command that is interrupted when ctx ends, and killed when it
// does not care.
func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
