package redistest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

// TestDiesWithProcess kills a test's process, which runs no cleanup.
func TestDiesWithProcess(t *testing.T) {
	const variable = "DEED_TEST_REDISTEST_ADDR"
	if file := os.Getenv(variable); file != "" {
		if err := os.WriteFile(file, []byte(redistest.Start(t).Addr()), 0o600); err != nil {
			t.Fatal(err)
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	file := t.TempDir() + "/addr"
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiesWithProcess$")
	cmd.Env = append(os.Environ(), variable+"="+file, "TMPDIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("%v\n%s", err, out)
	}
	addr, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server has gone", func() bool {
		conn, err := net.Dial("tcp", string(addr))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// TestOutlivesThread starts a server on a thread that ends.
func TestOutlivesThread(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	id := os.Getpid()
	for id == os.Getpid() { // the main thread never ends
		thread := make(chan int)
		go func() {
			runtime.LockOSThread() // and never unlocks, so that the thread ends with it
			if syscall.Gettid() != os.Getpid() {
				s.Restart()
			}
			thread <- syscall.Gettid()
		}()
		id = <-thread
	}
	eventually(t, "the thread has ended", func() bool {
		_, err := os.Stat(fmt.Sprint("/proc/self/task/", id))
		return errors.Is(err, fs.ErrNotExist)
	})
	if got := command(t, s, "PING"); got != "PONG" {
		t.Errorf("got %q", got)
	}
}

// TestKeepsPort kills a server that has clients: until it is started again, nobody else
// gets its port, and clients are refused.
func TestKeepsPort(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client, err := net.Dial("tcp4", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 {
		s.Kill()
		if l, err := net.Listen("tcp4", s.Addr()); err == nil {
			l.Close()
			t.Fatal("somebody else got the port")
		}
		if _, err := net.Dial("tcp4", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want to be refused", err)
		}
		s.Restart()
		if _, err := s.Command("PING"); err != nil {
			t.Error(err)
		}
	}
}
