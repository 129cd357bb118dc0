//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
)

// deedCmd is a command line of its own process in a folder.
func deedCmd(dir string, stdin io.Reader, args ...string) *exec.Cmd {
	cmd := exec.Command("deed", args...)
	cmd.Dir = dir
	cmd.Stdin = stdin
	return cmd
}

// result is how a process ended.
type result struct {
	stdout, stderr string
	code           int
	maxRSS         int64 // bytes
}

// finish runs cmd to its end. A process that does not end is killed.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code, rss := end(t, cmd)
	return result{stdout.String(), stderr.String(), code, rss}
}

// end waits for a started process.
func end(t *testing.T, cmd *exec.Cmd) (code int, maxRSS int64) {
	t.Helper()
	late := time.AfterFunc(4*patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	peak := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return cmd.ProcessState.ExitCode(), peak(cmd.ProcessState)
}

// want fails unless r ended with code and said exactly one line that matches.
func (r result) want(t *testing.T, code int, line string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if r.code != code || !regexp.MustCompile(line).MatchString(last) || strings.Count(r.stderr, "deed: ") > 1 {
		t.Errorf("exit code %d, stderr:\n%s\nwant %d and one line like %s", r.code, r.stderr, code, line)
	}
}

func mustRun(t *testing.T, dir string, stdin io.Reader, args ...string) string {
	t.Helper()
	r := finish(t, deedCmd(dir, stdin, args...))
	if r.code != 0 {
		t.Fatalf("deed %s: exit code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// numbered is the data of generated events.
type numbered struct {
	Key string `json:"key"`
	N   int    `json:"n"`
	Pad string `json:"pad,omitempty"`
}

// generate is an input of n numbered lines over several keys, made as it is read,
// each at least size bytes long.
func generate(n, keys, size int) *io.PipeReader {
	r, w := io.Pipe()
	pad := strings.Repeat("x", size)
	go func() {
		out := bufio.NewWriterSize(w, 1<<20)
		for i := range n {
			fmt.Fprintf(out, "{\"key\":\"k%d\",\"n\":%d,\"pad\":%q}\n", i%keys, i, pad)
		}
		w.CloseWithError(out.Flush())
	}()
	return r
}

// decodeLine reads a line of cat or sub.
func decodeLine(t *testing.T, line []byte) numbered {
	t.Helper()
	var e deed.Event
	var v numbered
	if err := errors.Join(json.Unmarshal(line, &e), json.Unmarshal(e.Data, &v)); err != nil {
		t.Errorf("%v in the line %s", err, line)
	}
	return v
}

// lineLog is what a reader has seen of a process's output so far.
type lineLog struct {
	mu    sync.Mutex
	lines [][]byte
	done  chan struct{}
}

// readSlowly reads r line by line until its end, pausing after each.
func readSlowly(r io.Reader, pause time.Duration) *lineLog {
	l := &lineLog{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		in := bufio.NewScanner(r)
		in.Buffer(nil, 8<<20)
		tick := time.NewTicker(max(pause, time.Microsecond))
		defer tick.Stop()
		for in.Scan() {
			l.mu.Lock()
			l.lines = append(l.lines, bytes.Clone(in.Bytes()))
			l.mu.Unlock()
			<-tick.C
		}
	}()
	return l
}

func (l *lineLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// all returns every line once the process has closed its output.
func (l *lineLog) all() [][]byte {
	<-l.done
	return l.lines
}

// startPiped starts cmd with a pipe as stdout and returns the end to read from.
func startPiped(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { r.Close() })
	return r
}
