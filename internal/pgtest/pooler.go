package pgtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

// PoolerVar names the environment variable that holds the path of pgbouncer.
const PoolerVar = "DEED_TEST_PGBOUNCER"

// pooling holds unless StartPooler is told otherwise.
const pooling = `listen_addr = 127.0.0.1
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
`

// Pooler is a pgbouncer of a test: it lends its connections for one transaction each.
// Its methods may be called concurrently.
type Pooler struct {
	*testserver.Server
	own string // a database that no other pooler knows
}

// StartPooler runs a pooler before a server and returns when it answers. Settings are
// lines of pgbouncer.ini, "default_pool_size = 2", and win over the defaults:
// transaction mode.
func StartPooler(t testing.TB, server *Server, settings ...string) *Pooler {
	t.Helper()
	path, err := findPooler()
	testenv.Require(t, "pgbouncer, on PATH or in "+PoolerVar, err)
	p := &Pooler{own: rand.Text()}
	p.Server = testserver.New(t, testserver.Config{
		Kind: "pgbouncer", Dir: testserver.Home(t), Nobody: true,
		Prepare: func() error { return p.configure(server, settings) },
		Command: func() []string { return []string{path, p.config()} },
		Ready:   p.ready,
		Stop:    syscall.SIGKILL, // it has nothing to keep, and waits for clients otherwise
	})
	p.Launch()
	return p
}

func findPooler() (string, error) {
	name := os.Getenv(PoolerVar)
	if name == "" {
		name = "pgbouncer"
	}
	path, err := exec.LookPath(name)
	if err != nil && name == "pgbouncer" {
		path, err = exec.LookPath("/usr/sbin/pgbouncer") // Debian's, which few have on PATH
	}
	return path, err
}

func (p *Pooler) config() string { return filepath.Join(p.Dir(), "pgbouncer.ini") }

// configure writes the pooler's configuration.
func (p *Pooler) configure(server *Server, settings []string) error {
	to := fmt.Sprintf("host=127.0.0.1 port=%d user=%s", server.Port(), user)
	text := fmt.Sprintf("[databases]\n%s = %s dbname=postgres\n* = %s\n\n[pgbouncer]\n%slisten_port = %d\n%s\n",
		p.own, to, to, pooling, p.Port(), strings.Join(settings, "\n"))
	return os.WriteFile(p.config(), []byte(text), 0o644)
}

func (p *Pooler) ready(int) error {
	_, err := ask(p.URL(p.own), "SELECT 1")
	return err
}

// URL returns the URL of one of the server's databases, through the pooler.
func (p *Pooler) URL(database string) string { return address(p.Addr(), database) }
