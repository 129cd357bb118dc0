//go:build unix

package cli_test

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// An interrupted pub has published exactly what it says.
func TestPubInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := deedCmd(dir, in, "pub", "t", "--key", "/key")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	go func() {
		input := generate(1_000_000, 10, 100)
		io.Copy(feed, input) // ends when nobody reads any more
		input.Close()
		feed.Close()
	}()
	if !eventually(func() bool { return countStored(t, dir) > 1000 }) {
		t.Error("nothing is stored")
	}
	cmd.Process.Signal(os.Interrupt)
	if code, _ := end(t, cmd); code != 1 {
		t.Errorf("exit code %d (want 1)", code)
	}
	text := stderr.String()
	if !strings.Contains(text, "\ndeed: pub: interrupted") {
		t.Errorf("stderr: %s", text)
	}
	said := strings.ReplaceAll(strings.Fields(text)[0], ",", "")
	if stored := countStored(t, dir); said != strconv.Itoa(stored) {
		t.Errorf("%d events are stored, it said: %s", stored, text)
	}
}

func countStored(t *testing.T, dir string) int {
	r := finish(t, deedCmd(dir, nil, "cat", "t", "--data"))
	return strings.Count(r.stdout, "\n")
}

// A sub that is told to end has acknowledged exactly what it wrote.
func TestSubInterrupted(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			const events = 3000
			dir := t.TempDir()
			mustRun(t, dir, generate(events, 10, 100), "pub", "t", "--key", "/key")
			cmd := deedCmd(dir, nil, "sub", "t", "--group", "g")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out := startPiped(t, cmd)
			log := readSlowly(out, 0)
			if !eventually(func() bool { return log.count() > 100 }) {
				t.Error("nothing comes")
			}
			cmd.Process.Signal(signal)
			if code, _ := end(t, cmd); code != 0 || stderr.Len() > 0 {
				t.Errorf("exit code %d, stderr: %s", code, stderr.String())
			}
			wroteOnce(t, dir, events, log.all())
		})
	}
}

// A reader that takes nothing does not keep a sub from ending, and the line that it
// did not take is not acknowledged.
func TestSubStuckReader(t *testing.T) {
	t.Parallel()
	const events = 3000
	dir := t.TempDir()
	mustRun(t, dir, generate(events, 10, 100), "pub", "t", "--key", "/key")
	cmd := deedCmd(dir, nil, "sub", "t", "--group", "g", "--idle", "1s")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out := startPiped(t, cmd)
	lag := func() string {
		return finish(t, deedCmd(dir, nil, "lag", "--group", "g", "--max-events", "2900")).stderr
	}
	if !eventually(func() bool { return lag() == "" }) {
		t.Error("nothing is written")
	}
	cmd.Process.Signal(os.Interrupt)
	code, _ := end(t, cmd)
	result{"", stderr.String(), code, 0}.want(t, 1, `^deed: sub: stdout: its reader takes nothing`)
	whole, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	wroteOnce(t, dir, events, lines[:len(lines)-1])
}

// wroteOnce fails unless first and what the group gets from now on is each event
// once.
func wroteOnce(t *testing.T, dir string, events int, first [][]byte) {
	t.Helper()
	rest := mustRun(t, dir, nil, "sub", "t", "--group", "g", "--idle", "1s")
	seen := map[int]int{}
	for _, line := range first {
		seen[decodeLine(t, line).N]++
	}
	before := len(seen)
	for line := range strings.Lines(rest) {
		seen[decodeLine(t, []byte(line)).N]++
	}
	t.Logf("%d before, %d after", before, strings.Count(rest, "\n"))
	for n, times := range seen {
		if times > 1 {
			t.Errorf("event %d was written %d times", n, times)
		}
	}
	if len(seen) != events {
		t.Errorf("%d events were written (want %d)", len(seen), events)
	}
}

// A reader that goes away ends the command, and nothing is acknowledged that was
// not written.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	const events = 3000
	dir := t.TempDir()
	mustRun(t, dir, generate(events, 10, 100), "pub", "t", "--key", "/key")
	for _, args := range [][]string{{"sub", "t", "--group", "g"}, {"cat", "t"}, {"cat", "t", "--follow"}} {
		cmd := deedCmd(dir, nil, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out := startPiped(t, cmd)
		if _, err := io.ReadFull(out, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		out.Close()
		code, _ := end(t, cmd)
		said := map[string]string{"sub": `^deed: sub: stdout: closed by its reader$`, "cat": `^$`}[args[0]]
		result{"", stderr.String(), code, 0}.want(t, 1, said)
	}
	acknowledged := events - strings.Count(mustRun(t, dir, nil, "sub", "t", "--group", "g", "--idle", "1s"), "\n")
	const pipeBuffer = 64 << 10
	if most := pipeBuffer/100 + 10; acknowledged > most {
		t.Errorf("%d events were acknowledged, more than fit into the pipe (%d)", acknowledged, most)
	}

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if os.IsNotExist(err) {
		return // this system has no device that is always full
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := deedCmd(dir, nil, "sub", "t", "--group", "h")
	cmd.Stdout = full
	finish(t, cmd).want(t, 1, `^deed: sub: stdout: .*no space left on device$`)
	if n := strings.Count(mustRun(t, dir, nil, "sub", "t", "--group", "h", "--idle", "1s"), "\n"); n != events {
		t.Errorf("%d events are left (want all %d)", n, events)
	}
}
