package cli

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// command runs a command line in this process, where the race detector sees it.
func command(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr}
	if code := run(context.Background(), a, args); code != exitDone {
		t.Errorf("deed %s: exit code %d: %s", strings.Join(args, " "), code, stderr.String())
	}
	return stdout.String()
}

func TestCommandsInOneProcess(t *testing.T) {
	const events = 5000
	url := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	var input strings.Builder
	for i := range events {
		fmt.Fprintf(&input, "{\"n\": %d, \"key\": \"k%d\"}\n", i, i%17)
	}
	command(t, input.String(), "pub", "t", "-u", url, "--key", "/key", "--on-error", "skip")
	if n := strings.Count(command(t, "", "cat", "t", "-u", url), "\n"); n != events {
		t.Errorf("cat writes %d events (want %d)", n, events)
	}
	var members sync.WaitGroup
	var lines [2]int
	for i := range lines {
		members.Go(func() {
			out := command(t, "", "sub", "t", "-u", url, "--group", "g", "--idle", "1s", "--data")
			lines[i] = strings.Count(out, "\n")
		})
	}
	members.Wait()
	if lines[0]+lines[1] != events {
		t.Errorf("two members write %d and %d events (want %d)", lines[0], lines[1], events)
	}
	if n := strings.Count(command(t, "", "sub", "t", "-u", url, "--group", "h", "--count", "100"), "\n"); n != 100 {
		t.Errorf("sub --count 100 writes %d events", n)
	}
	command(t, "", "lag", "-u", url, "--group", "g", "--max-events", "0")
	for _, args := range [][]string{{"topics"}, {"groups"}, {"lag"}, {"dlq"}, {"version"}} {
		command(t, "", append(args, "-u", url, "-o", "json")...)
	}
}
