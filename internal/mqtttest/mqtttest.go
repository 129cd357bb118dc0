// Package mqtttest runs real MQTT brokers, mosquitto, for tests.
//
// Each is a process of its own, with a free port on loopback and a private directory. The
// program is the mosquitto that DEED_TEST_MOSQUITTO names, the one on PATH, or Debian's;
// without it a test ends as testenv.Require says.
package mqtttest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

// ServerVar names the environment variable that holds the path of mosquitto.
const ServerVar = "DEED_TEST_MOSQUITTO"

// Server is a broker of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	tls bool
}

// Start runs a broker and returns when it answers. Lines are added to mosquitto.conf.
// Sessions and what waits for them survive an orderly stop.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	return start(t, &Server{}, lines)
}

// StartTLS is [Start] for a broker that speaks TLS only. Its certificate is for 127.0.0.1
// and localhost, signed by an authority that nobody else knows.
func StartTLS(t testing.TB, lines ...string) (*Server, *testserver.TLS) {
	t.Helper()
	c, err := testserver.NewTLS(testserver.Home(t))
	if err != nil {
		t.Fatalf("certificates: %v", err)
	}
	files := []string{"cafile " + c.CAFile, "certfile " + c.ServerCertFile, "keyfile " + c.ServerKeyFile}
	return start(t, &Server{tls: true}, append(files, lines...)), c
}

func start(t testing.TB, s *Server, lines []string) *Server {
	t.Helper()
	path, err := find()
	testenv.Require(t, "mosquitto, on PATH or in "+ServerVar, err)
	s.Server = testserver.New(t, testserver.Config{
		Kind: "mosquitto", Dir: testserver.Home(t), Nobody: true,
		Prepare: func() error { return s.configure(lines) },
		Command: func() []string { return []string{path, "-c", s.config()} },
		Ready:   s.ready,
	})
	s.Launch()
	return s
}

func find() (string, error) {
	if name := os.Getenv(ServerVar); name != "" {
		return exec.LookPath(name)
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/mosquitto") // Debian's, which few have on PATH
	}
	return path, err
}

func (s *Server) config() string { return filepath.Join(s.Dir(), "mosquitto.conf") }

func (s *Server) configure(lines []string) error {
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\n"+
		"max_queued_messages 100000\nlog_dest stderr\n%s\n", s.Port(), s.Dir(), strings.Join(lines, "\n"))
	return os.WriteFile(s.config(), []byte(text), 0o644)
}

// connect is an MQTT 3.1.1 CONNECT of a client without a name, who wants a clean session.
var connect = []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0}

// ready reports why the broker does not serve. A wrong password is an answer too.
func (s *Server) ready(int) error {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(connect); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := conn.Read(answer[:]); err != nil {
		return err
	}
	if answer[0] != 0x20 {
		return errors.New("it does not speak MQTT")
	}
	return nil
}

// URL returns deed's URL of the broker: mqtt://127.0.0.1:11000.
func (s *Server) URL() string { return "mqtt://" + s.Addr() }

// Publish publishes by mosquitto_pub, another program's client. The arguments say what.
func (s *Server) Publish(t testing.TB, args ...string) {
	t.Helper()
	to := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.Port())}
	if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", append(to, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %v: %v %s", args, err, out)
	}
}
