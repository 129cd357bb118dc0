// Package natstest runs real NATS servers with JetStream for tests.
//
// Each server is a process of its own, with a free port on loopback and a private
// directory. It ends with the test, and on Linux with the test's process, however that
// ends. [Start] runs a new server, which is built from the version in tools/go.mod;
// [StartOld] the nats-server on PATH, or the one that DEED_TEST_NATS_SERVER names, which
// is Debian's of years ago. Without it a test ends as testenv.Require says.
package natstest

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

const (
	// ServerVar names the environment variable that holds the path of the old nats-server.
	ServerVar = "DEED_TEST_NATS_SERVER"
	// AddrVar names the environment variable that holds the address of a running server,
	// host:port, for the tests that only need some server.
	AddrVar = "DEED_TEST_NATS"
	// monitorDistance is where a server has its port for monitoring.
	monitorDistance = 10000
)

// Server is a nats-server of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	options []nats.Option // to ask whether it serves
	lines   []string      // of the configuration, beside those of JetStream
	store   string        // where JetStream keeps its files
	given   atomic.Int64  // streams that were given up by lives before
	member  bool          // of a cluster, whose JetStream answers when most of the servers are there
}

// Start runs a new server and returns when its JetStream answers. Lines are added to its
// configuration; those of its JetStream are in a block of their own, "sync_interval: always"
// among them.
func Start(t testing.TB, jetstream ...string) *Server {
	t.Helper()
	return StartIn(t, "", jetstream...)
}

// StartIn is Start with what is stored in a directory that is not there yet, "" for one of
// its own.
func StartIn(t testing.TB, dir string, jetstream ...string) *Server {
	t.Helper()
	return start(t, built(t), dir, jetstream, nil)
}

// StartOld is Start with the old server.
func StartOld(t testing.TB, jetstream ...string) *Server {
	t.Helper()
	name := os.Getenv(ServerVar)
	if name == "" {
		name = "nats-server"
	}
	path, err := exec.LookPath(name)
	testenv.Require(t, "nats-server, on PATH or in "+ServerVar, err)
	return start(t, path, "", jetstream, nil)
}

// StartWith is Start with further lines at the top of the configuration, and what a client
// needs then to be let in.
func StartWith(t testing.TB, lines []string, options ...nats.Option) *Server {
	t.Helper()
	return start(t, built(t), "", nil, lines, options...)
}

// Open returns the address of a server: the one in DEED_TEST_NATS, or a new one of its
// own for the test.
func Open(t testing.TB) (addr string) {
	t.Helper()
	if addr := os.Getenv(AddrVar); addr != "" {
		return addr
	}
	return Start(t).Addr()
}

func start(t testing.TB, program, dir string, jetstream, lines []string, options ...nats.Option) *Server {
	t.Helper()
	s := &Server{options: options, lines: lines, store: dir}
	s.Server = testserver.New(t, testserver.Config{
		Kind: "nats", Dir: t.TempDir(), Ports: []int{monitorDistance},
		Prepare: func() error { return s.configure(jetstream) },
		Command: func() []string { return []string{program, "-c", s.config()} },
		Ready:   s.ready,
	})
	s.Launch()
	return s
}

func (s *Server) config() string { return filepath.Join(s.Dir(), "nats.conf") }

func (s *Server) configure(jetstream []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\nhttp: \"127.0.0.1:%d\"\n", s.Addr(), s.Port()+monitorDistance)
	fmt.Fprintf(&b, "server_name: %q\n%s\n", s.serverName(), strings.Join(s.lines, "\n"))
	fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n  %s\n}\n",
		cmp.Or(s.store, filepath.Join(s.Dir(), "store")), strings.Join(jetstream, "\n  "))
	return os.WriteFile(s.config(), []byte(b.String()), 0o600)
}

func (s *Server) serverName() string { return fmt.Sprint("deed-", s.Port()) }

// ready reports why the server does not serve JetStream.
func (s *Server) ready(int) error {
	nc, err := nats.Connect(s.URL(), append([]nats.Option{nats.NoReconnect(), nats.Timeout(time.Second)}, s.options...)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	if s.member {
		return nil
	}
	m, err := nc.Request("$JS.API.INFO", nil, time.Second)
	if err == nil && strings.Contains(string(m.Data), `"error"`) {
		err = fmt.Errorf("JetStream says: %s", m.Data)
	}
	return err
}

// Restart starts the server, which may run or be down, with what it has stored. Lines take
// the place of those that its JetStream had.
func (s *Server) Restart(jetstream ...string) {
	s.TB.Helper()
	if len(jetstream) > 0 {
		if err := s.configure(jetstream); err != nil {
			s.TB.Errorf("%s: %v", s.Name(), err)
			return
		}
	}
	s.Server.Restart()
	s.given.Store(s.gaveUp())
}

// Ended reports whether the server has ended by itself, or stores nothing any more: JetStream
// gives up for good a stream that it has no room for, until the server starts again.
func (s *Server) Ended() bool { return s.Server.Ended() || s.gaveUp() > s.given.Load() }

// gaveUp counts the streams that were given up, as the log tells.
func (s *Server) gaveUp() int64 {
	log, err := os.ReadFile(s.Log())
	if err != nil {
		s.TB.Errorf("%s: %v", s.Name(), err)
	}
	return int64(bytes.Count(log, []byte("critical write error")))
}

// URL returns nats://127.0.0.1:port.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// MonitorURL returns where the server tells of itself.
func (s *Server) MonitorURL() string {
	return fmt.Sprint("http://127.0.0.1:", s.Port()+monitorDistance)
}

// build makes the new server once for a process. The go command keeps what it has built.
var build = sync.OnceValues(func() (path string, err error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/deedgo/deed").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(dir, "deed-test"), 0o755); err != nil {
		return "", err
	}
	// Several test processes may build at once: each puts it in place whole.
	path = filepath.Join(dir, "deed-test", "nats-server")
	made := fmt.Sprint(path, ".", os.Getpid())
	cmd := exec.Command("go", "build", "-modfile=tools/go.mod", "-o", made, "github.com/nats-io/nats-server/v2")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, os.Rename(made, path)
})

func built(t testing.TB) string {
	t.Helper()
	path, err := build()
	testenv.Require(t, "nats-server, built from tools/go.mod", err)
	return path
}
