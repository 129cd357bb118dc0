// Package redistest runs real Redis servers for tests.
//
// Each server is a process of its own, with a free port on loopback and a private
// data directory; nothing of the machine's configuration is read. It ends with the
// test, and on Linux with the test's process, however that ends. The program is the
// redis-server on PATH, or the one that DEED_TEST_REDIS_SERVER names; without it a
// test ends as testenv.Require says.
//
// What starts a server, or several, ends the test when it fails and so belongs on
// the test's own goroutine. A server's methods may be called from any: they report
// what went wrong with Errorf and go on.
package redistest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/freeport"
	"github.com/deedgo/deed/internal/testenv"
)

const (
	// ServerVar names the environment variable that holds the path of redis-server.
	ServerVar = "DEED_TEST_REDIS_SERVER"
	// patience is how long a server may take to start, to end, or to answer.
	patience = time.Minute
	// poll is how often it is asked whether it has come so far.
	poll = 5 * time.Millisecond
	// busDistance is where the nodes of a cluster have a second port.
	busDistance = 10000
)

// Server is a redis-server of a test. Its methods may be called concurrently.
type Server struct {
	t        testing.TB
	name     string // for messages: "redis 127.0.0.1:11000"
	program  string
	args     []string // after the configuration file
	dir      string
	port     int
	password string
	tls      *TLS // nil: plain

	mu   sync.Mutex
	life *process // nil while it is down
	hold func()   // gives up the port, which is kept while the server is down; or nil
}

// Start runs a server and returns when it answers. Directives are lines of
// redis.conf, "appendonly yes", and win over the defaults: nothing is persisted. A
// password, "requirepass", belongs here and not to Restart.
func Start(t testing.TB, directives ...string) *Server {
	t.Helper()
	return start(t, &Server{}, func(s *Server) []string {
		return append(s.listen(), directives...)
	})
}

// start fills s and runs it, with the configuration that it gets once it has a port.
func start(t testing.TB, s *Server, configure func(s *Server) []string) *Server {
	t.Helper()
	s.t, s.program, s.dir = t, program(t), t.TempDir()
	t.Cleanup(s.end)
	for attempt := 1; ; attempt++ {
		var err error
		if s.port, err = freeport.Find(busDistance); err != nil {
			t.Fatal(err)
		}
		s.name = "redis " + s.Addr()
		if err = s.configure(configure(s)); err == nil {
			err = s.start()
		}
		if err == nil {
			return s
		}
		taken := strings.Contains(err.Error(), "Address already in use") // somebody was quicker
		if !taken || attempt == 10 {
			t.Fatal(err)
		}
		os.Remove(s.Log())
	}
}

// program finds redis-server.
func program(t testing.TB) string {
	t.Helper()
	name := os.Getenv(ServerVar)
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	testenv.Require(t, "redis-server, on PATH or in "+ServerVar, err)
	return path
}

// configure writes the server's configuration.
func (s *Server) configure(directives []string) error {
	lines := slices.Concat([]string{
		"bind 127.0.0.1",
		fmt.Sprintf("dir %q", s.dir),
		`save ""`,
		"appendonly no",
		"repl-diskless-sync-delay 0", // a replica need not wait for others
	}, directives)
	for _, d := range directives {
		if password, ok := strings.CutPrefix(d, "requirepass "); ok {
			s.password = password
			lines = append(lines, "masterauth "+password) // it may become a replica
		}
	}
	return os.WriteFile(s.config(), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// repeatable are directives that may be there several times.
var repeatable = []string{"client-output-buffer-limit", "include", "loadmodule", "rename-command", "sentinel", "user"}

// reconfigure replaces directives. To add them would not do for all: a server that
// is first told whose replica it is, and then "replicaof no one", tries to be both.
func (s *Server) reconfigure(directives []string) error {
	text, err := os.ReadFile(s.config())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, d := range directives {
		name, _, _ := strings.Cut(d, " ")
		if !slices.Contains(repeatable, name) {
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+" ") })
		}
	}
	lines = append(lines, directives...)
	return os.WriteFile(s.config(), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// listen returns the directives that give the server its port.
func (s *Server) listen() []string {
	if s.tls != nil {
		return s.tls.listen(s.port)
	}
	return []string{fmt.Sprint("port ", s.port)}
}

func (s *Server) config() string { return filepath.Join(s.dir, "redis.conf") }

// Log returns the path of the file that holds what the server has said.
func (s *Server) Log() string { return filepath.Join(s.dir, "redis.log") }

// Addr returns the server's address, host:port.
func (s *Server) Addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// URL returns redis://127.0.0.1:port, or rediss:// with TLS, with the password when
// there is one.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr()}
	if s.tls != nil {
		u.Scheme = "rediss"
	}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// Dir returns the server's data directory.
func (s *Server) Dir() string { return s.dir }

// PID returns the id of the server's process, 0 while it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return 0
	}
	return s.life.pid()
}

// Restart runs the server again, with the same port and data, and returns when it
// has loaded them. It is stopped before, if it runs. The directives replace those of
// the same name, for good.
func (s *Server) Restart(directives ...string) {
	s.t.Helper()
	s.Stop()
	err := s.reconfigure(directives)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		s.t.Error(err)
	}
}

// start begins a life and waits until the server answers.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
	life, err := launch(append([]string{s.program, s.config()}, s.args...), s.dir, s.Log())
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	err = await(life.exited, func() error { return s.ready(life) })
	if err != nil {
		life.kill()
		return fmt.Errorf("start %s: %w\n%s", s.name, err, tail(s.Log()))
	}
	s.life = life
	return nil
}

// ready reports why the server does not serve. While it loads it refuses PING. Who
// answers may also be somebody else, who was quicker to take the port.
func (s *Server) ready(life *process) error {
	if _, err := s.Command("PING"); err != nil {
		return err
	}
	info, err := s.fields("INFO", "server")
	if err == nil && info["process_id"] != strconv.Itoa(life.pid()) {
		err = fmt.Errorf("process %s answers on %s", info["process_id"], s.Addr())
	}
	return err
}

// Kill ends the server as kill -9 does, also a frozen one, and waits for its end. It
// does nothing when the server is down.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != nil {
		s.life.kill()
		s.life = nil
		s.hold = keepPort(s.port)
	}
}

// release gives up the port of a server that is down; mu is held.
func (s *Server) release() {
	if s.hold != nil {
		s.hold()
		s.hold = nil
	}
}

// Stop ends the server as an operator does, with SIGTERM, and waits for its end. It
// does nothing when the server is down, and thaws one that is frozen.
func (s *Server) Stop() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return
	}
	if err := s.life.terminate(); err != nil {
		s.t.Errorf("stop %s: %v", s.name, err)
	}
	s.life = nil
	s.hold = keepPort(s.port)
}

// Freeze stops the server's process, as SIGSTOP does: its connections stay open, and
// nobody answers. It returns when the process stands still.
func (s *Server) Freeze() {
	s.t.Helper()
	s.signal("freeze", (*process).freeze)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.t.Helper()
	s.signal("thaw", (*process).thaw)
}

func (s *Server) signal(what string, do func(*process) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		s.t.Errorf("%s %s: it is down", what, s.name)
	} else if err := do(s.life); err != nil {
		s.t.Errorf("%s %s: %v", what, s.name, err)
	}
}

// end is the server's end with its test.
func (s *Server) end() {
	s.Kill()
	s.mu.Lock()
	s.release()
	s.mu.Unlock()
	if s.t.Failed() {
		s.t.Logf("%s said at the end:\n%s", s.name, tail(s.Log()))
	}
}

// tail returns the end of a log.
func tail(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "")
}
