package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// testEvent is one line of go test -json.
type testEvent struct {
	Action      string
	Package     string
	Test        string
	Output      string
	Elapsed     float64
	ImportPath  string // of a build-output
	FailedBuild string // on a package's fail: what did not build
}

// quiet is how long the output may say nothing before it names what is running.
const quiet = 30 * time.Second

// test runs go test -json and counts what it reports.
func (r *runner) test(ctx context.Context, dir string, args []string) error {
	cmd := command(ctx, dir, args...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failedBefore := r.failed
	r.follow(pipe)
	if err := cmd.Wait(); ctx.Err() != nil {
		return fmt.Errorf("go test: stopped: %w", context.Cause(ctx))
	} else if err != nil && r.failed == failedBefore {
		return fmt.Errorf("go test: %w", err) // it failed before any package did
	}
	return nil
}

// follow reads events until the stream ends.
func (r *runner) follow(stream io.Reader) {
	lines := make(chan string, 64) // a little slack so that go test does not wait for our printing
	go func() {
		defer close(lines)
		reader := bufio.NewReader(stream)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	p := progress{
		runner: r, output: map[testName]*tail{}, running: map[testName]time.Time{}, packages: map[string]*counts{},
	}
	silence := time.NewTicker(quiet)
	defer silence.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return
			}
			if p.line(line) {
				silence.Reset(quiet)
			}
		case <-silence.C:
			p.stillRunning()
		}
	}
}

// testName is a test of a package; the empty test is the package itself.
type testName struct{ pkg, test string }

func (n testName) String() string { return strings.TrimSpace(n.pkg + " " + n.test) }

type counts struct{ passed, failed, skipped int }

// progress turns a stream of events into package lines and the runner's counts.
type progress struct {
	*runner
	output   map[testName]*tail // of what has not ended, or failed
	running  map[testName]time.Time
	packages map[string]*counts
}

// line takes one line of the stream and reports whether it printed something.
func (p *progress) line(line string) bool {
	var e testEvent
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(p.out, line) // not from the test runner: show it as it is
		return true
	}
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "run", "cont":
		p.running[name] = time.Now()
	case "pause": // until the tests that are not parallel are done
		delete(p.running, name)
	case "output":
		p.tail(name).add(e.Output)
	case "build-output":
		p.tail(testName{pkg: e.ImportPath}).add(e.Output)
	case "pass", "fail", "skip":
		delete(p.running, name)
		if e.Test == "" {
			p.endPackage(e)
			return true
		}
		p.endTest(name, e.Action)
		p.slow.add(name, e.Elapsed)
	}
	return false
}

func (p *progress) endTest(name testName, action string) {
	c := p.counts(name.pkg)
	switch action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		p.skips = append(p.skips, skip{name, reason(p.tail(name).text())})
	case "fail":
		c.failed++
		p.failures = append(p.failures, name.String()+"\n"+p.tail(name).text())
		fmt.Fprintf(p.out, "FAIL  %s\n", short(name.String())) // its text is in the summary
	}
	delete(p.output, name)
}

func (p *progress) endPackage(e testEvent) {
	c := p.counts(e.Package)
	name := testName{pkg: e.Package}
	verdict := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "-"}[e.Action]
	unfinished := p.unfinished(e.Package)
	if e.Action == "fail" && (c.failed == 0 || unfinished != "") { // it did not build, or its process ended
		c.failed++
		text := p.tail(testName{pkg: e.FailedBuild}).text() + p.tail(name).text() + unfinished
		p.failures = append(p.failures, e.Package+"\n"+text)
	}
	p.passed += c.passed
	p.failed += c.failed
	if e.Action != "skip" { // a package without tests says nothing
		fmt.Fprintf(p.out, "%-5s %-44s %6.1fs  %d passed", verdict, short(e.Package), e.Elapsed, c.passed)
		if c.failed > 0 {
			fmt.Fprintf(p.out, ", %d failed", c.failed)
		}
		if c.skipped > 0 {
			fmt.Fprintf(p.out, ", %d SKIPPED", c.skipped)
		}
		fmt.Fprintln(p.out)
	}
	delete(p.output, name)
}

// unfinished forgets the tests of a package that ended without them, and returns
// what they said.
func (p *progress) unfinished(pkg string) (text string) {
	for name := range p.running {
		if name.pkg == pkg {
			text += "still running: " + name.test + "\n" + p.tail(name).text()
			delete(p.running, name)
			delete(p.output, name)
		}
	}
	return text
}

// stillRunning names the tests that have been running longest.
func (p *progress) stillRunning() {
	var names []testName
	for name := range p.running {
		names = append(names, name)
	}
	if len(names) == 0 {
		fmt.Fprintln(p.out, "...   building")
		return
	}
	slices.SortFunc(names, func(a, b testName) int { return p.running[a].Compare(p.running[b]) })
	for _, name := range names[:min(len(names), 3)] {
		fmt.Fprintf(p.out, "...   %s for %v\n", short(name.String()), time.Since(p.running[name]).Round(time.Second))
	}
}

func (p *progress) counts(pkg string) *counts {
	if p.packages[pkg] == nil {
		p.packages[pkg] = &counts{}
	}
	return p.packages[pkg]
}

func (p *progress) tail(name testName) *tail {
	if p.output[name] == nil {
		p.output[name] = &tail{}
	}
	return p.output[name]
}

// short leaves out the module's path, which all packages share.
func short(name string) string {
	const module = "github.com/deedgo/deed"
	if rest, ok := strings.CutPrefix(name, module+"/"); ok {
		return "./" + rest
	}
	return name
}
