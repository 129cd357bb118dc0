//go:build unix

package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pipe that is killed or told to end in the middle, in both modes and more than
// once, loses no line and stores none twice: the first because its topic remembers
// ids, the other because it finishes what it has begun.
func TestPipeSignalled(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name   string
		events int
		args   []string
	}{
		{"each", 300, []string{"--parallel", "2", "--", "sed", "s/$/0/"}},
		{"keep running", 4000, []string{"--keep-running", "--", "sed", "-u", "s/$/0/"}},
	} {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
			t.Run(mode.name+"/"+signal.String(), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				var numbers bytes.Buffer
				for i := range mode.events {
					fmt.Fprintln(&numbers, i+1)
				}
				mustRun(t, dir, &numbers, "pub", "n")
				window := "24h"
				if signal != syscall.SIGKILL {
					window = "0"
				}
				mustRun(t, dir, nil, "topics", "create", "m", "--dedupe", window)
				args := append([]string{"pipe", "n", "--group", "g", "--to", "m", "--idle", "1s"}, mode.args...)
				for round := range 2 {
					signalPipe(t, dir, args, signal, (round+1)*mode.events/4)
				}
				mustRun(t, dir, nil, args...)
				mustRun(t, dir, nil, "lag", "--group", "g", "--max-events", "0")
				got := dataOf(t, dir, "m")
				slices.Sort(got)
				if unique := slices.Compact(slices.Clone(got)); len(got) != mode.events || len(unique) != mode.events {
					t.Errorf("%d lines, %d different (want %d)", len(got), len(unique), mode.events)
				}
				for _, line := range got {
					if n, err := strconv.Atoi(line); err != nil || n%10 != 0 || n > 10*mode.events {
						t.Fatalf("the line %q comes from no event", line)
					}
				}
			})
		}
	}
}

// signalPipe signals a pipe when topic m has more than so many lines.
func signalPipe(t *testing.T, dir string, args []string, signal syscall.Signal, lines int) {
	t.Helper()
	cmd := deedCmd(dir, nil, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return len(dataOf(t, dir, "m")) > lines }) {
		t.Errorf("the lines do not come; stderr: %s", stderr.String())
	}
	cmd.Process.Signal(signal)
	code, _ := end(t, cmd)
	said := strings.ReplaceAll(stderr.String(), noWindow, "")
	if signal != syscall.SIGKILL && (code != 0 || said != "") {
		t.Errorf("after %v: exit code %d, stderr: %s", signal, code, said)
	}
}

// noWindow is what pipe says of a topic that does not remember ids.
const noWindow = "deed: pipe: topic m has no id window, so a retry may store lines twice " +
	"(deed topics set m --dedupe 24h)\n"

// The command that was running, and what it had started, end with a pipe that is told
// to end, and with one that is killed.
func TestPipeTakesItsCommandAlong(t *testing.T) {
	for _, mode := range [][]string{{"--drain", "100ms"}, {"--drain", "100ms", "--keep-running"}} {
		for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(strings.Join(mode, " ")+" "+signal.String(), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				mustRun(t, dir, strings.NewReader("1\n"), "pub", "n")
				alive := filepath.Join(dir, "alive")
				if err := syscall.Mkfifo(alive, 0o600); err != nil {
					t.Fatal(err)
				}
				args := append(append([]string{"pipe", "n", "--group", "g"}, mode...),
					"--", "sh", "-c", "exec 9>alive; sleep 1000 <&- >&- & wait")
				cmd := deedCmd(dir, nil, args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				r, err := os.Open(alive) // waits for the shell to open it
				if err != nil {
					t.Fatal(err)
				}
				cmd.Process.Signal(signal)
				end(t, cmd)
				ended := make(chan error, 1)
				go func() {
					_, err := io.ReadAll(r) // until shell and sleep have closed it
					ended <- err
				}()
				select {
				case err := <-ended:
					if err != nil {
						t.Error(err)
					}
					r.Close()
				case <-time.After(patience):
					t.Error("the command goes on")
				}
			})
		}
	}
}

func dataOf(t *testing.T, dir, topic string) []string {
	return strings.Fields(mustRun(t, dir, nil, "cat", topic, "--data"))
}

// A program that ends, is silent, or answers nothing, in --keep-running.
func TestPipeKeepRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, dir, strings.NewReader("1\n2\n3\n"), "pub", "n")
	run := func(group string, args ...string) result {
		return finish(t, deedCmd(dir, nil, append([]string{"pipe", "n", "--group", group, "--keep-running"}, args...)...))
	}
	if r := run("cat", "--count", "3", "--", "cat"); len(strings.Fields(r.stdout)) != 3 || r.stderr != "" {
		t.Errorf("cat: %+v", r)
	}
	// One line each, then it is started again for the next event.
	r := run("dies", "--count", "3", "--", "sh", "-c", "read -r l; echo $l")
	if len(strings.Fields(r.stdout)) != 3 || r.code != 0 {
		t.Errorf("a program that ends after each line: %+v", r)
	}
	r = run("poison", "--attempts", "2", "--idle", "6s", "--", "sh", "-c",
		"while read -r l; do [ $l != 2 ] || { echo no twos >&2; exit 4; }; echo $l; done")
	if strings.Count(r.stderr, "ended with exit status 4 before it answered: no twos") < 2 {
		t.Errorf("a program that ends on an event: %+v", r)
	}
	if list := mustRun(t, dir, nil, "dlq", "ls", "--group", "poison"); !strings.Contains(list, "no twos") {
		t.Errorf("dead letters: %s", list)
	}
	r = run("silent", "--attempts", "1", "--timeout", "200ms", "--idle", "6s",
		"--", "sh", "-c", "while read -r l; do :; done")
	if strings.Count(r.stderr, "took longer than --timeout") < 3 {
		t.Errorf("a silent program: %+v", r)
	}
	r = run("empty", "--count", "3", "--to", "none", "--", "sed", "-u", "s/.*//")
	if r.code != 0 || len(dataOf(t, dir, "none")) != 0 {
		t.Errorf("empty lines: %+v", r)
	}
}
