package mariatest_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/testserver"
)

// ask runs a statement that has to succeed.
func ask(t *testing.T, s *mariatest.Server, database, statement string) string {
	t.Helper()
	answer, err := s.Ask(database, statement)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestKillStopRestart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*mariatest.Server)
	}{
		{"killed", (*mariatest.Server).Kill},
		{"stopped", (*mariatest.Server).Stop},
		{"frozen and killed", func(s *mariatest.Server) { s.Freeze(); s.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mariatest.Start(t, "max_connections = 10")
			db := s.Database(t)
			ask(t, s, db, "CREATE TABLE t (n int)")
			ask(t, s, db, "INSERT INTO t VALUES (7)")
			addr, pid := s.Addr(), s.PID()
			c.end(s)
			if _, err := s.Ask(db, "SELECT 1"); err == nil || s.PID() != 0 {
				t.Errorf("it answers, or has process %d, at its end", s.PID())
			}
			s.Kill() // changes nothing
			s.Restart("sort_buffer_size = 1M")
			if s.Addr() != addr || s.PID() == pid || s.PID() == 0 {
				t.Errorf("moved from %s to %s, process %d became %d", addr, s.Addr(), pid, s.PID())
			}
			if got := ask(t, s, db, "SELECT n FROM t"); got != "7" {
				t.Errorf("got %q, want 7", got)
			}
			if got := ask(t, s, db, "SELECT concat(@@sort_buffer_size, ' ', @@max_connections)"); got != "1048576 10" {
				t.Errorf("the settings of Restart and of Start made %q", got)
			}
		})
	}
}

// TestPrivate asks whether something of the machine leaks into a server, or from one
// test into another.
func TestPrivate(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	if got, want := ask(t, s, "mysql", "SELECT @@datadir"), filepath.Join(s.Dir(), "data"); filepath.Clean(got) != want {
		t.Errorf("has its data in %s, want %s", got, want)
	}
	if got := ask(t, s, "mysql", "SELECT @@bind_address"); got != "127.0.0.1" {
		t.Errorf("listens on %s", got)
	}
	var first string
	t.Run("one", func(t *testing.T) {
		first = s.Database(t)
		ask(t, s, first, "CREATE TABLE t (n int)")
		if got := ask(t, s, s.Database(t), "SHOW TABLES"); got != "" {
			t.Errorf("a new database has the table %s", got)
		}
	})
	if _, err := s.Ask(first, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "Unknown database") {
		t.Errorf("the database is there after its test: %v", err)
	}
}

func TestDurable(t *testing.T) {
	t.Parallel()
	const statement = "SELECT concat(@@innodb_flush_log_at_trx_commit, ' ', @@innodb_flush_method, ' ', " +
		"@@innodb_doublewrite)"
	if got := ask(t, mariatest.Start(t), "mysql", statement); got != "2 nosync OFF" {
		t.Errorf("flush log at commit, flush method and doublewrite are %s", got)
	}
	if got := ask(t, mariatest.Start(t, mariatest.Durable), "mysql", statement); got != "1 O_DIRECT ON" {
		t.Errorf("with Durable they are %s", got)
	}
}

// TestFreeze wants that not even a session that is open goes on.
func TestFreeze(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t)
	db, err := sql.Open("mysql", s.DSN("mysql"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	answered := make(chan error)
	go func() { answered <- db.Ping() }()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answers: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	s.Thaw()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	t.Setenv(mariatest.URLVar, "mysql://elsewhere/db")
	if got := mariatest.Open(t); got != "mysql://elsewhere/db" {
		t.Errorf("got %s", got)
	}
	t.Setenv(mariatest.URLVar, "")
	if got := mariatest.Open(t); !strings.HasPrefix(got, "mysql://root@127.0.0.1:") {
		t.Errorf("got %s", got)
	}
}

// TestDiesWithProcess kills a test's process, which runs no cleanup.
func TestDiesWithProcess(t *testing.T) {
	const variable = "DEED_TEST_MARIATEST_PID"
	if file := os.Getenv(variable); file != "" {
		if err := os.WriteFile(file, []byte(strconv.Itoa(mariatest.Start(t).PID())), 0o600); err != nil {
			t.Fatal(err)
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	home := testserver.Home(t)
	file := home + "/pid"
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiesWithProcess$")
	cmd.Env = append(os.Environ(), variable+"="+file, "TMPDIR="+home)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("%v\n%s", err, out)
	}
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	err = testserver.Await(nil, func() error {
		stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		if errors.Is(err, fs.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return fmt.Errorf("process %s is there: %v", pid, err)
	})
	if err != nil {
		t.Error(err)
	}
}
