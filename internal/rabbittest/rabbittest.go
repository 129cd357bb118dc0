// Package rabbittest runs real RabbitMQ servers for tests.
//
// Each is a node of its own, with free ports on loopback, a private directory, and a port
// mapper of Erlang, epmd, that nobody else uses. It ends with the test, and on Linux with
// the test's process, however that ends. The program is the rabbitmq-server that
// DEED_TEST_RABBITMQ names, or Debian's; without it a test ends as testenv.Require says.
package rabbittest

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

const (
	// ServerVar names the environment variable that holds the path of rabbitmq-server. It is
	// the script that runs as anybody, not the one that changes the user.
	ServerVar = "DEED_TEST_RABBITMQ"

	debian = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	// distDistance is where a node has its port for other nodes.
	distDistance = 10000
)

// Server is a RabbitMQ of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	mapper *testserver.Server // epmd
	store  string             // where the node keeps its data
	tls    bool
}

// Start runs a node and returns when it serves. Lines are added to rabbitmq.conf.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	return StartIn(t, "", lines...)
}

// StartIn is Start with what is stored in a directory that is not there yet, "" for one of
// its own.
func StartIn(t testing.TB, dir string, lines ...string) *Server {
	t.Helper()
	return start(t, &Server{store: dir}, lines)
}

// StartTLS is [Start] for a node that speaks TLS only. Its certificate is for 127.0.0.1 and
// localhost, signed by an authority that nobody else knows.
func StartTLS(t testing.TB, lines ...string) (*Server, *testserver.TLS) {
	t.Helper()
	c, err := testserver.NewTLS(testserver.Home(t))
	if err != nil {
		t.Fatalf("certificates: %v", err)
	}
	files := []string{
		"ssl_options.cacertfile = " + c.CAFile, "ssl_options.certfile = " + c.ServerCertFile,
		"ssl_options.keyfile = " + c.ServerKeyFile,
	}
	return start(t, &Server{tls: true}, append(files, lines...)), c
}

func start(t testing.TB, s *Server, lines []string) *Server {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv(ServerVar), debian))
	testenv.Require(t, "rabbitmq-server, Debian's or in "+ServerVar, err)
	epmd, err := exec.LookPath("epmd")
	testenv.Require(t, "epmd, of Erlang", err)
	dir := testserver.Home(t)
	// A node that finds no mapper starts one, which outlives it.
	s.mapper = testserver.New(t, testserver.Config{
		Kind: "epmd", Dir: dir, Nobody: true,
		Command: func() []string {
			return []string{epmd, "-port", strconv.Itoa(s.mapper.Port()), "-address", "127.0.0.1"}
		},
		Ready: func(int) error { return dial(s.mapper.Addr()) },
	})
	s.mapper.Launch()
	s.Server = testserver.New(t, testserver.Config{
		Kind: "rabbitmq", Dir: dir, Ports: []int{distDistance}, Nobody: true,
		Prepare: func() error { return s.configure(lines) },
		Command: func() []string { return append(append([]string{"/usr/bin/env"}, s.environment()...), program) },
		Ready:   func(int) error { return s.ready() },
		Quit:    syscall.SIGTERM, // the program is a script: killed, it would leave the node behind
	})
	s.Launch()
	return s
}

func dial(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// path is that of a file in the node's directory.
func (s *Server) path(name string) string { return filepath.Join(s.Dir(), name) }

func (s *Server) configure(lines []string) error {
	listen := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", s.Port())
	if s.tls {
		listen = fmt.Sprintf("listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:%d", s.Port())
	}
	text := listen + "\nlog.console = true\nlog.console.level = warning\nlog.file = false\n" +
		"disk_free_limit.absolute = 50MB\nraft.wal_max_size_bytes = 67108864\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(s.path("rabbitmq.conf"), []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.path("enabled_plugins"), []byte("[].\n"), 0o644)
}

// environment tells the node where everything is.
func (s *Server) environment() []string {
	return []string{
		"HOME=" + s.Dir(),
		"RABBITMQ_NODENAME=" + s.node(),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(s.Port()+distDistance),
		"RABBITMQ_MNESIA_BASE=" + cmp.Or(s.store, s.path("mnesia")),
		"RABBITMQ_LOG_BASE=" + s.path("log"),
		"RABBITMQ_PID_FILE=" + s.path("pid"),
		"RABBITMQ_CONFIG_FILE=" + s.path("rabbitmq.conf"),
		"RABBITMQ_CONF_ENV_FILE=" + s.path("none"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + s.path("enabled_plugins"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none " +
			"-kernel inet_dist_use_interface {127,0,0,1}",
		"ERL_EPMD_PORT=" + strconv.Itoa(s.mapper.Port()),
		"ERL_EPMD_ADDRESS=127.0.0.1",
	}
}

func (s *Server) node() string { return fmt.Sprintf("deed-%d@localhost", s.Port()) }

// ready reports why the node does not serve. A refused client is an answer too.
func (s *Server) ready() error {
	if s.tls {
		return dial(s.Addr())
	}
	conn, err := amqp.DialConfig(s.URL(), amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
	if err != nil {
		return err
	}
	return conn.Close()
}

// Noted waits until the node has on its disk that there are quorum queues of these names. It
// writes that some seconds after it has made them, and a node that is killed before has lost
// them, with what it had confirmed.
func (s *Server) Noted(queues ...string) {
	s.TB.Helper()
	s.noted("quorum", queues)
}

// NotedStreams is Noted for all streams: what is noted late is who starts them, when the
// first is made, which is one that this makes and removes.
func (s *Server) NotedStreams() {
	s.TB.Helper()
	if err := s.makeStream(); err != nil {
		s.TB.Errorf("the first stream: %v", err)
		return
	}
	s.noted("coordination", []string{"rabbit_stream_coordinator"})
}

func (s *Server) makeStream() error {
	conn, err := amqp.Dial(s.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	stream := amqp.Table{amqp.QueueTypeArg: "stream"}
	if _, err = ch.QueueDeclare("first", true, false, false, false, stream); err == nil {
		_, err = ch.QueueDelete("first", false, false, false)
	}
	return err
}

func (s *Server) noted(system string, names []string) {
	s.TB.Helper()
	err := testserver.Await(nil, func() error {
		files, err := filepath.Glob(filepath.Join(cmp.Or(s.store, s.path("mnesia")), "*", system, "*", "names.dets"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("files %q: %w", files, err)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		for _, name := range names {
			if !bytes.Contains(text, []byte(name)) {
				return fmt.Errorf("%s is not in it", name)
			}
		}
		return nil
	})
	if err != nil {
		s.TB.Errorf("names of queues: %v", err)
	}
}

// Restart starts the node, which may run or be down, with what it has stored. Lines take the
// place of those that its configuration had.
func (s *Server) Restart(lines ...string) {
	s.TB.Helper()
	if len(lines) > 0 {
		if err := s.configure(lines); err != nil {
			s.TB.Errorf("%s: %v", s.Name(), err)
			return
		}
	}
	s.Server.Restart()
}

// Ctl runs rabbitmqctl for the node and returns what it says.
func (s *Server) Ctl(args ...string) string {
	s.TB.Helper()
	ctl := filepath.Join(filepath.Dir(debian), "rabbitmqctl")
	cmd := exec.Command("/usr/bin/env", append(append(s.environment(), ctl, "-q", "-n", s.node()), args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.TB.Fatalf("rabbitmqctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// URL returns amqp://guest:guest@127.0.0.1:port/, which is deed's URL too.
func (s *Server) URL() string {
	scheme := "amqp"
	if s.tls {
		scheme = "amqps"
	}
	return scheme + "://guest:guest@" + s.Addr() + "/"
}
