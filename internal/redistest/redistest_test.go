package redistest_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/redistest"
	"github.com/deedgo/deed/internal/testenv"
)

// patience is a deadline that a busy machine can keep.
const patience = time.Minute

// command runs a command that has to succeed.
func command(t *testing.T, s *redistest.Server, args ...string) string {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// add appends n events to a stream.
func add(t *testing.T, s *redistest.Server, n int) {
	t.Helper()
	for i := range n {
		command(t, s, "XADD", "stream", "*", "n", strconv.Itoa(i))
	}
}

// eventually waits until cond is true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("waited %v: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestKillStopRestart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		directives []string
		end        func(*redistest.Server)
		want       string
	}{
		{"killed, nothing is persisted", nil, (*redistest.Server).Kill, ""},
		{"killed, append-only", []string{"appendonly yes", "appendfsync always"}, (*redistest.Server).Kill, "kept"},
		{"stopped, snapshots", []string{"save 3600 1"}, (*redistest.Server).Stop, "kept"},
		{"killed, snapshots", []string{"save 3600 1"}, (*redistest.Server).Kill, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, c.directives...)
			command(t, s, "SET", "key", "kept")
			addr, pid := s.Addr(), s.PID()
			c.end(s)
			if _, err := s.Command("PING"); err == nil || s.PID() != 0 {
				t.Errorf("it answers, or has process %d, at its end", s.PID())
			}
			c.end(s) // again changes nothing
			s.Restart("maxmemory 5mb")
			if s.Addr() != addr || s.PID() == pid || s.PID() == 0 {
				t.Errorf("moved from %s to %s, process %d became %d", addr, s.Addr(), pid, s.PID())
			}
			if got := command(t, s, "GET", "key"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := command(t, s, "CONFIG", "GET", "maxmemory"); got != "maxmemory\n5242880" {
				t.Errorf("the directive of Restart made %q", got)
			}
		})
	}
}

// TestPrivate asks whether something of the machine leaks into a server, or from one
// into another.
func TestPrivate(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t), redistest.Start(t)
	command(t, a, "SET", "key", "of a")
	if got := command(t, b, "GET", "key"); got != "" {
		t.Errorf("b has %q", got)
	}
	for _, s := range []*redistest.Server{a, b} {
		info := command(t, s, "INFO", "server")
		config := filepath.Join(s.Dir(), "redis.conf")
		if !strings.Contains(info, "config_file:"+config+"\r\n") {
			t.Errorf("does not use %s: %s", config, info)
		}
		if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.PID())) {
			t.Errorf("is not process %d: %s", s.PID(), info)
		}
		if got := command(t, s, "CONFIG", "GET", "dir"); got != "dir\n"+s.Dir() {
			t.Errorf("got %q, want %s", got, s.Dir())
		}
		if got := command(t, s, "CONFIG", "GET", "bind"); got != "bind\n127.0.0.1" {
			t.Errorf("got %q", got)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "requirepass geheim")
	if got, want := s.URL(), "redis://:geheim@"+s.Addr(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"SET", "key", "two\r\nlines"}, "OK"},
		{[]string{"GET", "key"}, "two\r\nlines"},
		{[]string{"STRLEN", "key"}, "10"},
		{[]string{"GET", "no key"}, ""},
		{[]string{"MGET", "no key", "key"}, "\ntwo\r\nlines"},
		{[]string{"KEYS", "none"}, ""},
		{[]string{"EVAL", "return {1, {2, 'three'}, false}", "0"}, "1\n2\nthree\n"},
	} {
		if got := command(t, s, c.args...); got != c.want {
			t.Errorf("%v: got %q, want %q", c.args, got, c.want)
		}
	}
	_, err := s.Command("INCR", "key")
	if err == nil || !strings.Contains(err.Error(), s.Addr()+": INCR: ERR value is not an integer") {
		t.Errorf("the error is: %v", err)
	}
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Freeze()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("+PONG\r\n"))
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen server answers %q, %v", answer, err)
	}
	s.Thaw()
	conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(answer); err != nil || string(answer) != "+PONG\r\n" {
		t.Errorf("a thawed server answers %q, %v", answer, err)
	}
	s.Freeze()
	s.Stop() // ends it all the same
}

func TestCutAOF(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync always")
	add(t, s, 20)
	mark := s.MarkAOF()
	add(t, s, 30)
	s.Kill()
	if n := s.CutAOF(mark); n <= 0 {
		t.Errorf("cut %d bytes", n)
	}
	s.Restart()
	if got := command(t, s, "XLEN", "stream"); got != "20" {
		t.Errorf("the stream has %s events, want 20", got)
	}

	mark = s.MarkAOF()
	command(t, s, "BGREWRITEAOF")
	eventually(t, "the rewrite ends", func() bool { return s.MarkAOF() != mark })
	s.Kill()
	r := &recorder{TB: t}
	redistest.Record(s, r)
	if s.CutAOF(mark); !strings.Contains(r.errors, "rewritten") {
		t.Errorf("a rewrite after the mark: %q", r.errors)
	}
}

// recorder notes what a test is told.
type recorder struct {
	testing.TB
	errors string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Error(a ...any)                 { r.errors += fmt.Sprintln(a...) }
func (r *recorder) Errorf(format string, a ...any) { r.errors += fmt.Sprintf(format, a...) + "\n" }

// TestMistakes wants that what cannot be done fails the test, and says why.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*redistest.Server)
		want string
	}{
		{"freeze what is down", func(s *redistest.Server) { s.Kill(); s.Freeze() }, "it is down"},
		{"thaw what is down", func(s *redistest.Server) { s.Kill(); s.Thaw() }, "it is down"},
		{"unknown directive", func(s *redistest.Server) { s.Restart("colour green") }, "colour green"},
		{"cut while it runs", func(s *redistest.Server) { s.CutAOF(s.MarkAOF()) }, "the server runs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "appendonly yes")
			r := &recorder{TB: t}
			redistest.Record(s, r)
			if c.do(s); !strings.Contains(r.errors, c.want) || !strings.Contains(r.errors, s.Addr()) {
				t.Errorf("says %q, want %q and the server", r.errors, c.want)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, c := redistest.StartTLS(t, "tls-auth-clients yes")
	if got, want := s.URL(), "rediss://"+s.Addr(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := command(t, s, "PING"); got != "PONG" {
		t.Errorf("got %q", got)
	}
	if conn, err := tls.Dial("tcp", s.Addr(), nil); err == nil {
		conn.Close()
		t.Error("the machine trusts the test's authority")
	}
	replica := redistest.StartReplica(t, s)
	command(t, s, "SET", "key", "value")
	replica.CatchUp(s)
	if got := command(t, replica, "GET", "key"); got != "value" {
		t.Errorf("the replica has %q", got)
	}
	cli, err := exec.LookPath("redis-cli")
	testenv.Require(t, "redis-cli on PATH", err)
	_, port, _ := net.SplitHostPort(s.Addr())
	out, err := exec.Command(cli, "-p", port, "--tls", "--cacert", c.CAFile, "--cert", c.CertFile, "--key", c.KeyFile,
		"GET", "key").CombinedOutput()
	if err != nil || string(out) != "value\n" {
		t.Errorf("redis-cli: %v, %q", err, out)
	}
}

func TestOpen(t *testing.T) {
	s := redistest.Start(t)
	t.Setenv(redistest.AddrVar, s.Addr())
	if got := redistest.Open(t); got != s.Addr() {
		t.Errorf("got %s, want %s", got, s.Addr())
	}
	t.Setenv(redistest.AddrVar, "")
	if got := redistest.Open(t); got == s.Addr() {
		t.Errorf("got %s, which nobody named", got)
	}
}

// TestNoServer runs itself where there is no server.
func TestNoServer(t *testing.T) {
	if os.Getenv("DEED_TEST_REDISTEST") == "absent" {
		redistest.Start(t)
		t.Fatal("started")
	}
	for require, want := range map[string]string{"": "--- SKIP", "all": "--- FAIL"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoServer$", "-test.v")
		cmd.Env = append(os.Environ(), "DEED_TEST_REDISTEST=absent", "DEED_TEST_REQUIRE="+require,
			redistest.ServerVar+"="+filepath.Join(t.TempDir(), "absent"))
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || !strings.Contains(string(out), "this test wants redis-server") {
			t.Errorf("DEED_TEST_REQUIRE=%s: want %s, got:\n%s", require, want, out)
		}
	}
}

// TestPortTaken has somebody else's server on the port of one that was down.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	mine := redistest.Start(t)
	_, port, err := net.SplitHostPort(mine.Addr())
	if err != nil {
		t.Fatal(err)
	}
	other := redistest.Start(t)
	mine.Kill()
	mine.Release()
	_, err = other.Command("CONFIG", "SET", "port", port)
	testenv.Require(t, "Redis 7, which moves while it runs", err)
	r := &recorder{TB: t}
	redistest.Record(mine, r)
	if mine.Restart(); !strings.Contains(r.errors, "Address already in use") || mine.PID() != 0 {
		t.Errorf("it has process %d, and says %q", mine.PID(), r.errors)
	}
}
