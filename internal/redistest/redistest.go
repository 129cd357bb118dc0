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
	"testing"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

const (
	// ServerVar names the environment variable that holds the path of redis-server.
	ServerVar = "DEED_TEST_REDIS_SERVER"
	// busDistance is where the nodes of a cluster have a second port.
	busDistance = 10000
)

// Server is a redis-server of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	args     []string // after the configuration file
	password string
	tls      *TLS // nil: plain
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
	path := program(t)
	s.Server = testserver.New(t, testserver.Config{
		Kind: "redis", Dir: t.TempDir(), Ports: []int{busDistance},
		Prepare: func() error { return s.configure(configure(s)) },
		Command: func() []string { return append([]string{path, s.config()}, s.args...) },
		Ready:   s.ready,
	})
	s.Launch()
	return s
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
		fmt.Sprintf("dir %q", s.Dir()),
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
		return listenTLS(s.tls, s.Port())
	}
	return []string{fmt.Sprint("port ", s.Port())}
}

func (s *Server) config() string { return filepath.Join(s.Dir(), "redis.conf") }

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

// Restart runs the server again, with the same port and data, and returns when it
// has loaded them. It is stopped before, if it runs. The directives replace those of
// the same name, for good.
func (s *Server) Restart(directives ...string) {
	s.TB.Helper()
	s.Stop()
	err := s.reconfigure(directives)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		s.TB.Error(err)
	}
}

// ready reports why the server does not serve. While it loads it refuses PING. Who
// answers may also be somebody else, who was quicker to take the port.
func (s *Server) ready(pid int) error {
	if _, err := s.Command("PING"); err != nil {
		return err
	}
	info, err := s.fields("INFO", "server")
	if err == nil && info["process_id"] != strconv.Itoa(pid) {
		err = fmt.Errorf("process %s answers on %s", info["process_id"], s.Addr())
	}
	return err
}
