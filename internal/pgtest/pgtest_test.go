package pgtest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/testserver"
)

// ask runs SQL that has to succeed.
func ask(t *testing.T, s *pgtest.Server, database, sql string) string {
	t.Helper()
	answer, err := s.Ask(database, sql)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestKillStopRestart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*pgtest.Server)
	}{
		{"killed", (*pgtest.Server).Kill},
		{"stopped", (*pgtest.Server).Stop},
		{"frozen and killed", func(s *pgtest.Server) { s.Freeze(); s.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := pgtest.Start(t, "max_connections = 10")
			db := s.Database(t)
			ask(t, s, db, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
			client, err := pgx.Connect(t.Context(), s.URL(db)) // one that stays
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close(t.Context())
			addr, pid := s.Addr(), s.PID()
			c.end(s)
			if _, err := s.Ask(db, "SELECT 1"); err == nil || s.PID() != 0 {
				t.Errorf("it answers, or has process %d, at its end", s.PID())
			}
			s.Kill() // changes nothing
			s.Restart("work_mem = '5MB'")
			if s.Addr() != addr || s.PID() == pid || s.PID() == 0 {
				t.Errorf("moved from %s to %s, process %d became %d", addr, s.Addr(), pid, s.PID())
			}
			if got := ask(t, s, db, "SELECT n FROM t"); got != "7" {
				t.Errorf("got %q, want 7", got)
			}
			got := ask(t, s, db, "SELECT current_setting('work_mem') || ' ' || current_setting('max_connections')")
			if got != "5MB 10" {
				t.Errorf("the settings of Restart and of Start made %q", got)
			}
		})
	}
}

// TestPrivate asks whether something of the machine leaks into a server, or from one
// test into another.
func TestPrivate(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	if got, want := ask(t, s, "postgres", "SHOW data_directory"), filepath.Join(s.Dir(), "data"); got != want {
		t.Errorf("has its data in %s, want %s", got, want)
	}
	if got := ask(t, s, "postgres", "SHOW listen_addresses"); got != "127.0.0.1" {
		t.Errorf("listens on %s", got)
	}
	var first string
	t.Run("one", func(t *testing.T) {
		first = s.Database(t)
		ask(t, s, first, "CREATE TABLE t (n int)")
		if other := s.Database(t); ask(t, s, other, "SELECT count(*) FROM pg_tables WHERE tablename = 't'") != "0" {
			t.Error("a new database is not empty")
		}
	})
	if _, err := s.Ask(first, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("the database is there after its test: %v", err)
	}
}

func TestDurable(t *testing.T) {
	t.Parallel()
	const sql = "SELECT current_setting('fsync') || current_setting('full_page_writes') || " +
		"current_setting('synchronous_commit')"
	if got := ask(t, pgtest.Start(t), "postgres", sql); got != "offoffon" {
		t.Errorf("fsync, full_page_writes and synchronous_commit are %s", got)
	}
	if got := ask(t, pgtest.Start(t, pgtest.Durable), "postgres", sql); got != "ononon" {
		t.Errorf("with Durable they are %s", got)
	}
}

// TestKillEndsSessions wants that a kill ends what a client had begun: a server's
// children do not finish it.
func TestKillEndsSessions(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	ask(t, s, "postgres", "CREATE TABLE t (n int)")
	ended := make(chan error)
	go func() {
		_, err := s.Ask("postgres", "INSERT INTO t SELECT 1 FROM pg_sleep(100)")
		ended <- err
	}()
	err := testserver.Await(nil, func() error {
		got, err := s.Ask("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
		if err == nil && got != "1" {
			err = fmt.Errorf("%s sessions sleep", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := <-ended; err == nil {
		t.Error("the session ended well")
	}
	s.Restart()
	if got := ask(t, s, "postgres", "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows of an uncommitted transaction", got)
	}
}

// TestFreeze wants that not even a session that is open goes on.
func TestFreeze(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	client, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(t.Context())
	s.Freeze()
	answered := make(chan error)
	go func() {
		_, err := client.Exec(t.Context(), "SELECT 1")
		answered <- err
	}()
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

func TestPooler(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	p := pgtest.StartPooler(t, s, "default_pool_size = 1")
	db := s.Database(t)
	connect := func() *pgx.Conn {
		config, err := pgx.ParseConfig(p.URL(db))
		if err != nil {
			t.Fatal(err)
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(t.Context()) })
		return conn
	}
	var pids [2]int // two clients, one connection to the server
	for i, conn := range []*pgx.Conn{connect(), connect()} {
		if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pids[i]); err != nil {
			t.Fatal(err)
		}
	}
	if pids[0] != pids[1] {
		t.Errorf("two clients have sessions %d: it does not pool by transaction", pids)
	}
	p.Kill()
	p.Restart()
	if err := connect().Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpen(t *testing.T) {
	t.Setenv(pgtest.URLVar, "postgres://elsewhere/db")
	if got := pgtest.Open(t); got != "postgres://elsewhere/db" {
		t.Errorf("got %s", got)
	}
	t.Setenv(pgtest.URLVar, "")
	u, err := url.Parse(pgtest.Open(t))
	if err != nil || u.Scheme != "postgres" {
		t.Errorf("got %v, %v", u, err)
	}
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
}

// TestDiesWithProcess kills a test's process, which runs no cleanup.
func TestDiesWithProcess(t *testing.T) {
	const variable = "DEED_TEST_PGTEST_PID"
	if file := os.Getenv(variable); file != "" {
		s := pgtest.Start(t)
		backend := ask(t, s, "postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
		if err := os.WriteFile(file, []byte(backend), 0o600); err != nil {
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
