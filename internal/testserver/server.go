// Package testserver runs servers for tests.
//
// Each is a process of its own, with a free port on loopback and a directory of its
// own. It ends with the test, and on Linux with the test's process, however that ends.
// What is particular to a kind of server is in redistest, pgtest and mariatest.
package testserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/freeport"
)

const (
	// Patience is how long a server may take to start, to end, or to answer.
	Patience = time.Minute
	// poll is how often it is asked whether it has come so far.
	poll = 5 * time.Millisecond
)

// Config says what a server is.
type Config struct {
	Kind    string              // for messages and for the log's name: "redis"
	Dir     string              // where it runs
	Ports   []int               // further ports that it takes, as distances from its port
	Nobody  bool                // runs as nobody where the test runs as root; Dir is from Home
	Prepare func() error        // writes what it has to know of its port, before its first start; or nil
	Command func() []string     // the program, by its path, and its arguments
	Ready   func(pid int) error // why it does not serve, or is another process
	Stop    syscall.Signal      // what an operator sends, SIGTERM when unset
	Quit    syscall.Signal      // ends it at once, and lets it give back what the system lent; SIGKILL when unset
}

// Server is a server of a test. Its methods may be called concurrently. They report
// what went wrong with Errorf and go on, but for Launch.
type Server struct {
	TB testing.TB // the test that it belongs to

	config Config
	port   int

	mu   sync.Mutex
	life *process // nil while it is down
	hold func()   // gives up the port, which is kept while the server is down; or nil
}

// New returns a server that has neither a port nor a process before Launch.
func New(t testing.TB, c Config) *Server {
	if c.Stop == 0 {
		c.Stop = syscall.SIGTERM
	}
	if c.Quit == 0 {
		c.Quit = syscall.SIGKILL
	}
	s := &Server{TB: t, config: c}
	t.Cleanup(s.end)
	return s
}

// Launch finds a port, runs the server and returns when it answers. It ends the test
// when it fails, and so belongs on the test's own goroutine.
func (s *Server) Launch() {
	s.TB.Helper()
	for attempt := 1; ; attempt++ {
		var err error
		if s.port, err = freeport.Find(s.config.Ports...); err != nil {
			s.TB.Fatal(err)
		}
		if s.config.Prepare != nil {
			err = s.config.Prepare()
		}
		if err == nil {
			err = s.Start()
		}
		if err == nil {
			return
		}
		taken := strings.Contains(err.Error(), "Address already in use") // somebody was quicker
		if !taken || attempt == 10 {
			s.TB.Fatal(err)
		}
		os.Remove(s.Log())
	}
}

// Name returns what messages call the server: redis 127.0.0.1:11000.
func (s *Server) Name() string { return s.config.Kind + " " + s.Addr() }

// Dir returns the server's directory.
func (s *Server) Dir() string { return s.config.Dir }

// Log returns the path of the file that holds what the server has said.
func (s *Server) Log() string { return filepath.Join(s.config.Dir, s.config.Kind+".log") }

// Port returns the server's port, which stays its own while it is down.
func (s *Server) Port() int { return s.port }

// Addr returns the server's address, host:port.
func (s *Server) Addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// PID returns the id of the server's process, 0 while it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return 0
	}
	return s.life.pid()
}

// Start runs the server, which has to be down, with the same port and data as before,
// and returns when it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != nil {
		return fmt.Errorf("start %s: it runs", s.Name())
	}
	s.release()
	life, err := launch(s.config, s.Log())
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Name(), err)
	}
	err = Await(life.exited, func() error { return s.config.Ready(life.pid()) })
	if err != nil {
		life.kill()
		return fmt.Errorf("start %s: %w\n%s", s.Name(), err, s.tail())
	}
	s.life = life
	return nil
}

// Restart runs the server again, with the same port and data, and returns when it
// answers. It is stopped before, if it runs.
func (s *Server) Restart() {
	s.TB.Helper()
	s.Stop()
	if err := s.Start(); err != nil {
		s.TB.Error(err)
	}
}

// RestartWith is Restart with more lines in the server's configuration, where the last
// of a name wins.
func (s *Server) RestartWith(file string, lines []string) {
	s.TB.Helper()
	s.Stop()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(f, strings.Join(lines, "\n"))
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		s.TB.Error(err)
	}
}

// Kill ends the server as kill -9 does, also a frozen one, and waits for its end. It
// does nothing when the server is down.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != nil {
		s.life.kill()
		s.down()
	}
}

// Ended reports whether the server has ended by itself.
func (s *Server) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return false
	}
	select {
	case <-s.life.exited:
		return true
	default:
		return false
	}
}

// Stop ends the server as an operator does, and waits for its end. It does nothing
// when the server is down, and thaws one that is frozen.
func (s *Server) Stop() {
	s.TB.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return
	}
	if err := s.life.end(s.config.Stop); err != nil {
		s.TB.Errorf("stop %s: %v", s.Name(), err)
	}
	s.down()
}

// down notes that a life has ended; mu is held.
func (s *Server) down() {
	s.life = nil
	s.hold = keepPort(s.port)
}

// Freeze stops the server's processes, as SIGSTOP does: its connections stay open, and
// nobody answers. It returns when they stand still.
func (s *Server) Freeze() {
	s.TB.Helper()
	s.signal("freeze", (*process).freeze)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.TB.Helper()
	s.signal("thaw", (*process).thaw)
}

func (s *Server) signal(what string, do func(*process) error) {
	s.TB.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.New("it is down")
	if s.life != nil {
		err = do(s.life)
	}
	if err != nil {
		s.TB.Errorf("%s %s: %v", what, s.Name(), err)
	}
}

// Release lets others have the port of a server that is down.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}

// release is Release; mu is held.
func (s *Server) release() {
	if s.hold != nil {
		s.hold()
		s.hold = nil
	}
}

// end is the server's end with its test.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != nil {
		s.life.end(s.config.Quit)
		s.life = nil
	}
	s.release()
	if s.TB.Failed() {
		s.TB.Logf("%s said at the end:\n%s", s.Name(), s.tail())
	}
}

// tail returns the end of what the server has said.
func (s *Server) tail() string {
	text, err := os.ReadFile(s.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "")
}
