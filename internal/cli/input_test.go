//go:build unix

package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// memory is what a process may take, whatever passes through it: largeInput does
// not fit.
const (
	memory     = 100 << 20
	largeInput = 128 << 20
)

// repeat is an endless line.
type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// Input that is no event ends with one line that says where and why, and what came
// before it is stored.
func TestPubBadInput(t *testing.T) {
	t.Parallel()
	const good = `{"n":1}` + "\n"
	for _, c := range []struct {
		name  string
		input io.Reader
		want  string
	}{
		{"rubbish", bytes.NewReader([]byte{0, 0xff, 0x7f, 0x45, 0x4c, 0x46, '\n', 1, 2, 3}), `line 2: not UTF-8 text$`},
		{"control characters", strings.NewReader("\x1b[31m\x00\n"), `line 2: not JSON: invalid character '\\x1b'`},
		{"two values", strings.NewReader(`{} {}`), `line 2: not JSON: invalid character '\{' after top-level value$`},
		{"cut off", strings.NewReader(`{"a":`), `line 2: not JSON: unexpected end of JSON input$`},
		{"bad UTF-8 in a string", strings.NewReader("\"\xff\"\n"), `line 2: not UTF-8 text$`},
		{"a line of 50 MB", io.LimitReader(repeat('x'), 50<<20), `line 2: longer than 1,048,576 bytes$`},
		{"a value of 50 MB", io.MultiReader(strings.NewReader(`"`), io.LimitReader(repeat('x'), 50<<20),
			strings.NewReader("\"\n{}\n")), `line 2: longer than 1,048,576 bytes$`},
		{"deep nesting", io.LimitReader(repeat('['), 1<<20-10), `line 2: not JSON: .*exceeded max depth$`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := finish(t, deedCmd(dir, io.MultiReader(strings.NewReader(good), c.input), "pub", "t"))
			r.want(t, 1, `^deed: pub: `+c.want)
			if !strings.Contains("\n"+r.stderr, "\n1 published, 0 already there\n") { // after its progress, if it takes long
				t.Errorf("stderr does not say what was published: %s", r.stderr)
			}
			if r.maxRSS > memory {
				t.Errorf("it took %d MiB", r.maxRSS>>20)
			}
			if got := mustRun(t, dir, nil, "cat", "t", "--data"); got != good {
				t.Errorf("stored: %q (want %q)", got, good)
			}
		})
	}
}

// A line that is too long is skipped like any bad line, and what follows is read.
func TestPubSkipsLongLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	input := io.MultiReader(io.LimitReader(repeat('x'), 50<<20), strings.NewReader("\n{\"n\":1}\n"))
	r := finish(t, deedCmd(dir, input, "pub", "t", "--on-error", "skip"))
	want := "deed: pub: line 1: longer than 1,048,576 bytes\n" +
		"1 published, 0 already there, 1 bad line skipped\ndeed: pub: 1 bad line skipped\n"
	if r.code != 1 || !strings.HasSuffix("\n"+r.stderr, "\n"+want) { // after its progress, if it takes long
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	if got := mustRun(t, dir, nil, "cat", "t", "--data"); got != "{\"n\":1}\n" {
		t.Errorf("stored: %q", got)
	}
}

// Memory does not grow with the input, whoever is slow.
func TestPubLargeInput(t *testing.T) {
	t.Parallel()
	const size = 4 << 10
	const events = largeInput / size
	dir := t.TempDir()
	r := finish(t, deedCmd(dir, generate(events, 100, size), "pub", "t", "--key", "/key"))
	r.want(t, 0, ` published, 0 already there$`)
	t.Logf("%d MiB of input took %d MiB of memory", events*size>>20, r.maxRSS>>20)
	if r.maxRSS == 0 || r.maxRSS > memory {
		t.Errorf("it took %d MiB", r.maxRSS>>20)
	}

	for _, args := range [][]string{{"cat", "t"}, {"sub", "t", "--group", "g", "--count", strconv.Itoa(events)}} {
		cmd := deedCmd(dir, nil, args...)
		out := startPiped(t, cmd)
		peak := watchMemory(cmd.Process.Pid)
		lines := bytes.Count(readAllSlowly(t, out), []byte("\n"))
		code, _ := end(t, cmd)
		rss := peak(cmd.ProcessState)
		t.Logf("deed %s took %d MiB of memory", args[0], rss>>20)
		if code != 0 || lines != events || rss == 0 || rss > memory {
			t.Errorf("deed %s: exit code %d, %d lines, %d MiB", args[0], code, lines, rss>>20)
		}
	}
}

// readAllSlowly reads in small pieces, and keeps the newlines only.
func readAllSlowly(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var newlines []byte
	piece := make([]byte, 4<<10)
	for {
		n, err := r.Read(piece)
		newlines = append(newlines, bytes.Repeat([]byte("\n"), bytes.Count(piece[:n], []byte("\n")))...)
		if err == io.EOF {
			return newlines
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A file that may not grow stands for a full disk: the error says so, and exactly
// what was counted as published is there.
func TestPubFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustRun(t, dir, nil, "topics", "create", "t")
	cmd := exec.Command("sh", "-c", "ulimit -f 24000; exec deed pub t --key /key")
	cmd.Dir, cmd.Stdin = dir, generate(40_000, 10, 1000)
	r := finish(t, cmd)
	r.want(t, 1, `^deed: pub: lines [0-9,]+ to [0-9,]+: [0-9,]+ not stored`)
	said := strings.ReplaceAll(strings.Fields(r.stderr)[0], ",", "")
	stored := strings.Count(mustRun(t, dir, nil, "cat", "t"), "\n")
	if said != strconv.Itoa(stored) || stored == 0 {
		t.Errorf("%d events are stored, it said: %s", stored, r.stderr)
	}
	t.Logf("%d events stored; %s", stored, r.stderr)
}

// A file or folder that cannot be written is an error that names it.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := finish(t, deedCmd(dir, strings.NewReader("{}\n"), "pub", "t", "-u", "sqlite:missing/x.db"))
	r.want(t, 1, `^deed: pub: .*missing`)
	r = finish(t, deedCmd(dir, strings.NewReader("{}\n"), "pub", "t", "-u", "sqlite:."))
	r.want(t, 1, `^deed: pub: `)
	note := bytes.Repeat([]byte("no database\n"), 1000)
	if err := os.WriteFile(filepath.Join(dir, "note.txt"), note, 0o666); err != nil {
		t.Fatal(err)
	}
	r = finish(t, deedCmd(dir, strings.NewReader("{}\n"), "pub", "t", "-u", "sqlite:note.txt"))
	r.want(t, 1, `^deed: pub: .*note.txt.*not a database`)

	mustRun(t, dir, strings.NewReader("{}\n"), "pub", "t")
	for _, name := range []string{"deed.db", "."} {
		if err := os.Chmod(filepath.Join(dir, name), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	r = finish(t, asNobody(t, deedCmd(dir, strings.NewReader("{}\n"), "pub", "t")))
	r.want(t, 1, `^deed: pub: .*deed.db`)
	if strings.Contains(r.stderr, "1 published") {
		t.Errorf("it says that it published: %s", r.stderr)
	}
}

// asNobody takes root's rights from cmd, which no permission stops.
func asNobody(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		return cmd
	}
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for _, path := range []string{cmd.Path, cmd.Dir} {
		for dir := filepath.Dir(path); dir != filepath.Dir(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o011 == 0o011 {
				continue
			}
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(fmt.Errorf("let an unprivileged process in: %w", err))
			}
		}
	}
	return cmd
}
