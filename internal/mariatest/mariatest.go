// Package mariatest runs real MariaDB servers for tests.
//
// Each server is a process of its own, with a free port on loopback and a private
// data directory; nothing of the machine's configuration is read. It ends with the
// test, and on Linux with the test's process, however that ends. The program is the
// mariadbd that DEED_TEST_MARIADB names, the one on PATH, or Debian's, with the
// mariadb-install-db on PATH; without them a test ends as testenv.Require says.
//
// What starts a server or makes a database ends the test when it fails and so belongs
// on the test's own goroutine. A server's methods may be called from any: they report
// what went wrong with Errorf and go on.
package mariatest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

const (
	// ServerVar names the environment variable that holds the path of mariadbd.
	ServerVar = "DEED_TEST_MARIADB"
	// Durable is a setting for [Start]: the server's commits survive the loss of power.
	Durable = "innodb_flush_log_at_trx_commit = 1\nsync_binlog = 1\ninnodb_flush_method = O_DIRECT\n" +
		"innodb_doublewrite = ON"
	// system is a database that every server has.
	system = "mysql"
)

// settings hold unless Start is told otherwise. Without syncing, a commit survives the
// end of the process, not that of the machine.
const settings = `[mariadbd]
bind_address = 127.0.0.1
skip_name_resolve
innodb_flush_log_at_trx_commit = 2
innodb_flush_method = nosync
innodb_doublewrite = OFF
innodb_buffer_pool_size = 64M
`

// Server is a MariaDB server of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	data      string       // where its databases are
	databases atomic.Int64 // how many Database has made
}

// template makes a data directory once for all servers of a test's process.
var template = testserver.Template{Make: func(home string) error {
	return testserver.Run(home, "mariadb-install-db", "--no-defaults", "--datadir="+filepath.Join(home, "data"),
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-log-file-size="+logSize, "--innodb-flush-method=nosync", "--tmpdir="+home)
}}

// logSize is smaller than what a server has by itself, 96 MB, which would be copied.
const logSize = "16M"

// Start runs a server and returns when it answers. Settings are lines of my.cnf,
// "max_connections = 10", and win over the defaults: nothing is synced to disk, unless
// one of them is [Durable].
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return StartIn(t, "", settings...)
}

// StartIn is [Start] with a data directory that the test chooses, and which is not there
// yet; "" is one beside the server's configuration.
func StartIn(t testing.TB, data string, settings ...string) *Server {
	t.Helper()
	path, err := find()
	testenv.Require(t, "mariadbd, on PATH or in "+ServerVar, err)
	s := &Server{data: data}
	home := testserver.Home(t)
	if s.data == "" {
		s.data = filepath.Join(home, "data")
	}
	if err := template.Copy(s.data, data != ""); err != nil {
		t.Fatal(err)
	}
	s.Server = testserver.New(t, testserver.Config{
		Kind: "mariadb", Dir: home, Nobody: true,
		Prepare: func() error { return s.configure(settings) },
		Command: func() []string { return []string{path, "--defaults-file=" + s.config()} },
		Ready:   s.ready,
	})
	s.Launch()
	return s
}

// StartTLS is [Start] for a server that speaks TLS, too. Its
// certificate is for 127.0.0.1 and localhost, signed by an authority that nobody else
// knows.
func StartTLS(t testing.TB, settings ...string) (*Server, *testserver.TLS) {
	t.Helper()
	c, err := testserver.NewTLS(testserver.Home(t))
	if err != nil {
		t.Fatalf("certificates: %v", err)
	}
	ssl := []string{"ssl_ca = " + c.CAFile, "ssl_cert = " + c.ServerCertFile, "ssl_key = " + c.ServerKeyFile}
	return Start(t, append(ssl, settings...)...), c
}

// find returns the path of mariadbd.
func find() (string, error) {
	if name := os.Getenv(ServerVar); name != "" {
		return exec.LookPath(name)
	}
	path, err := exec.LookPath("mariadbd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/mariadbd") // Debian's, which few have on PATH
	}
	if err == nil {
		_, err = exec.LookPath("mariadb-install-db")
	}
	return path, err
}

func (s *Server) config() string { return filepath.Join(s.Dir(), "my.cnf") }

// configure writes the server's configuration.
func (s *Server) configure(lines []string) error {
	// A server that starts removes what it finds of temporary tables, also another's.
	const layout = "%sinnodb_log_file_size = %s\ndatadir = %s\ntmpdir = %s\nsocket = %s\nport = %d\n%s\n"
	text := fmt.Sprintf(layout, settings, logSize,
		s.data, s.Dir(), filepath.Join(s.Dir(), "socket"), s.Port(), strings.Join(lines, "\n"))
	return os.WriteFile(s.config(), []byte(text), 0o644)
}

// ready reports why the server does not serve, or is somebody else's, who was quicker
// to take the port.
func (s *Server) ready(int) error {
	dir, err := ask(s.DSN(system), "SELECT @@datadir")
	if err == nil && filepath.Clean(dir) != s.data {
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

// URL returns deed's URL of a database for the user root, who has no password:
// mysql://root@127.0.0.1:11000/name.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("mysql://root@%s/%s", s.Addr(), database)
}

// DSN returns the driver's address of a database: root@tcp(127.0.0.1:11000)/name.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("root@tcp(%s)/%s", s.Addr(), database)
}

// Database makes an empty database, which is dropped with the test, and returns its
// name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("test", s.databases.Add(1))
	if _, err := s.Ask(system, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.PID() == 0 {
			return // its files go with the server's
		}
		if _, err := s.Ask(system, "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// Ask runs one statement in a database, on a connection of its own, and returns the
// first value of its first row as text: "" when there is none.
func (s *Server) Ask(database, statement string) (string, error) {
	answer, err := ask(s.DSN(database), statement)
	if err != nil {
		return "", fmt.Errorf("%s: %q: %w", s.Name(), statement, err)
	}
	return answer, nil
}

func ask(dsn, statement string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), testserver.Patience)
	defer cancel()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var value sql.NullString
	err = db.QueryRowContext(ctx, statement).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return value.String, err
}
