// Package pgtest runs real Postgres servers for tests, and pgbouncer before them.
//
// Each server is a process of its own, with a free port on loopback and a private
// data directory; nothing of the machine's configuration is read. It ends with the
// test, and on Linux with the test's process, however that ends. The programs are
// those of the directory that DEED_TEST_POSTGRES_BIN names, else those on PATH, else
// Debian's newest; without them a test ends as testenv.Require says.
//
// What starts a server or makes a database ends the test when it fails and so belongs
// on the test's own goroutine. A server's methods may be called from any: they report
// what went wrong with Errorf and go on.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

const (
	// BinVar names the environment variable that holds the directory of postgres and
	// initdb.
	BinVar = "DEED_TEST_POSTGRES_BIN"
	// Durable is a setting for [Start]: the server's commits survive the loss of power.
	Durable = "fsync = on\nfull_page_writes = on"
	// user is the superuser of all servers; no password is asked for.
	user = "postgres"
)

// settings hold unless Start is told otherwise.
const settings = `listen_addresses = '127.0.0.1'
unix_socket_directories = ''
# in the data directory, so that nothing stays behind when the server is killed
dynamic_shared_memory_type = mmap
fsync = off
full_page_writes = off
`

// Server is a Postgres server of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	bin       string
	data      string       // where its databases are
	databases atomic.Int64 // how many Database has made
}

// template makes a data directory once for all servers of a test's process.
var template = testserver.Template{Make: func(home string) error {
	bin, err := find()
	if err != nil {
		return err
	}
	return testserver.Run(home, filepath.Join(bin, "initdb"), "-D", filepath.Join(home, "data"), "--no-sync",
		"--username="+user, "--auth=trust", "--locale=C", "--encoding=UTF8")
}}

// Start runs a server and returns when it answers. Settings are lines of
// postgresql.conf, "max_connections = 10", and win over the defaults: nothing is
// synced to disk, unless one of them is [Durable].
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartIn(t, "", settings...)
}

// StartIn is [Start] with a data directory that the test chooses, and which is not there
// yet; "" is one beside the server's configuration.
func StartIn(t testing.TB, data string, settings ...string) *Server {
	t.Helper()
	bin, err := find()
	testenv.Require(t, "Postgres, on PATH or in "+BinVar, err)
	s := &Server{bin: bin, data: data}
	home := testserver.Home(t)
	if s.data == "" {
		s.data = filepath.Join(home, "data")
	}
	if err := template.Copy(s.data, data != ""); err != nil {
		t.Fatal(err)
	}
	s.Server = testserver.New(t, testserver.Config{
		Kind: "postgres", Dir: home, Nobody: true,
		Prepare: func() error { return s.configure(settings) },
		Command: func() []string {
			return []string{filepath.Join(bin, "postgres"), "-D", s.data, "-c", "config_file=" + s.config()}
		},
		Ready: s.ready,
		Stop:  syscall.SIGINT, // "fast": does not wait for clients to leave
		Quit:  syscall.SIGQUIT,
	})
	s.Launch()
	return s
}

// find returns the directory of Postgres's programs.
func find() (string, error) {
	if bin := os.Getenv(BinVar); bin != "" {
		_, err := os.Stat(filepath.Join(bin, "postgres"))
		return bin, err
	}
	path, err := exec.LookPath("postgres")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	newest, version := "", 0
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is right
	for _, f := range found {
		var v int
		if _, err := fmt.Sscanf(f, "/usr/lib/postgresql/%d", &v); err == nil && v > version {
			newest, version = filepath.Dir(f), v
		}
	}
	if newest == "" {
		return "", err
	}
	return newest, nil
}

func (s *Server) config() string { return filepath.Join(s.Dir(), "postgresql.conf") }

// configure writes the server's configuration.
func (s *Server) configure(lines []string) error {
	text := fmt.Sprintf("%sport = %d\n%s\n", settings, s.Port(), strings.Join(lines, "\n"))
	return os.WriteFile(s.config(), []byte(text), 0o644)
}

// ready reports why the server does not serve, or is somebody else's, who was quicker
// to take the port.
func (s *Server) ready(int) error {
	dir, err := ask(s.URL("postgres"), "SHOW data_directory")
	if err == nil && dir != s.data {
		err = fmt.Errorf("the server of %s answers on %s", dir, s.Addr())
	}
	return err
}

// Restart runs the server again, with the same port and data, and returns when it
// answers, recovered from a kill. It is stopped before, if it runs. The settings win
// over those before, for good.
func (s *Server) Restart(settings ...string) {
	s.TB.Helper()
	s.RestartWith(s.config(), settings)
}

// URL returns the URL of a database for the superuser:
// postgres://postgres@127.0.0.1:11000/name?sslmode=disable.
func (s *Server) URL(database string) string { return address(s.Addr(), database) }

func address(addr, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: addr, Path: "/" + database}
	return u.String() + "?sslmode=disable"
}

// Database makes an empty database, which is dropped with the test, and returns its
// name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", s.databases.Add(1))
	if _, err := ask(s.URL("postgres"), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	t.Cleanup(func() {
		if s.PID() == 0 {
			return // its files go with the server's
		}
		if _, err := ask(s.URL("postgres"), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("%s: %v", s.Name(), err)
		}
	})
	return name
}

// Ask runs SQL in a database, on a connection of its own, and returns the first value
// of its last statement's first row as text: "" when there is none.
func (s *Server) Ask(database, sql string) (string, error) {
	answer, err := ask(s.URL(database), sql)
	if err != nil {
		return "", fmt.Errorf("%s: %q: %w", s.Name(), sql, err)
	}
	return answer, nil
}

func ask(url, sql string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), testserver.Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll() // the simple protocol, which every pooler knows
	if err != nil || len(results) == 0 {
		return "", err
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 && len(rows[0]) > 0 {
		answer = string(rows[0][0])
	}
	return answer, nil
}
