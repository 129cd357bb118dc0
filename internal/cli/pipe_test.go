//go:build unix

package cli_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A pipe that is killed in the middle, in both modes and more than once, loses no
// line and stores none twice.
func TestPipeKilled(t *testing.T) {
	for _, mode := range []struct {
		name   string
		events int
		args   []string
	}{
		{"each", 600, []string{"--parallel", "2", "--", "sed", "s/$/0/"}},
		{"keep running", 8000, []string{"--keep-running", "--", "sed", "-u", "s/$/0/"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var numbers bytes.Buffer
			for i := range mode.events {
				fmt.Fprintln(&numbers, i+1)
			}
			mustRun(t, dir, &numbers, "pub", "n")
			mustRun(t, dir, nil, "topics", "create", "m", "--dedupe", "24h")
			args := append([]string{"pipe", "n", "--group", "g", "--to", "m", "--idle", "1s"}, mode.args...)
			for kill := range 2 {
				cmd := deedCmd(dir, nil, args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				want := (kill + 1) * mode.events / 4
				if !eventually(func() bool { return len(dataOf(t, dir, "m")) > want }) {
					t.Errorf("after %d kills the lines do not come", kill)
				}
				cmd.Process.Kill()
				end(t, cmd)
			}
			mustRun(t, dir, nil, args...)
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
	r = run("poison", "--attempts", "2", "--idle", "2s", "--", "sh", "-c",
		"while read -r l; do [ $l != 2 ] || { echo no twos >&2; exit 4; }; echo $l; done")
	if strings.Count(r.stderr, "ended with exit status 4 before it answered: no twos") < 2 {
		t.Errorf("a program that ends on an event: %+v", r)
	}
	if list := mustRun(t, dir, nil, "dlq", "ls", "--group", "poison"); !strings.Contains(list, "no twos") {
		t.Errorf("dead letters: %s", list)
	}
	r = run("silent", "--attempts", "1", "--timeout", "200ms", "--idle", "2s",
		"--", "sh", "-c", "while read -r l; do :; done")
	if strings.Count(r.stderr, "took longer than --timeout") < 3 {
		t.Errorf("a silent program: %+v", r)
	}
	r = run("empty", "--count", "3", "--to", "none", "--", "sed", "-u", "s/.*//")
	if r.code != 0 || len(dataOf(t, dir, "none")) != 0 {
		t.Errorf("empty lines: %+v", r)
	}
}
