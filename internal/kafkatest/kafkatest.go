// Package kafkatest runs kfake for tests: a Kafka in Go, which keeps its data on disk.
// Debian has no Kafka, and what is tested here is tested on kfake.
//
// Each server is a process of its own, with a free port on loopback and a private data
// directory. It ends with the test, and on Linux with the test's process, however that
// ends.
package kafkatest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
)

// Server is a kfake of a test. Its methods may be called concurrently.
type Server struct {
	*testserver.Server
	args []string // for kfaked
}

// Start runs a server and returns when it answers. It may be given arguments of kfaked.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "kfaked")
	build := exec.Command("go", "build", "-o", program, "github.com/deedgo/deed/internal/kafkatest/kfaked")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build kfaked: %v\n%s", err, out)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &Server{args: args}
	s.Server = testserver.New(t, testserver.Config{
		Kind: "kafka", Dir: dir,
		Command: func() []string {
			return append([]string{program, "-port", strconv.Itoa(s.Port()), "-dir", data}, s.args...)
		},
		Ready: func(int) error { return s.ready() },
	})
	s.Launch()
	return s
}

// Restart starts the server, which may run or be down, with what it has stored. Arguments
// take the place of those that it had.
func (s *Server) Restart(args ...string) {
	s.TB.Helper()
	if len(args) > 0 {
		s.args = args
	}
	s.Server.Restart()
}

// ready asks the server for its metadata.
func (s *Server) ready() error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.DialTimeout(time.Second), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(s.TB.Context())
}

// URL returns kafka://127.0.0.1:port.
func (s *Server) URL() string { return "kafka://" + s.Addr() }

// Kcat runs kcat, a client on librdkafka, against the server and returns what it prints. A
// test without kcat ends as testenv.Require says.
func (s *Server) Kcat(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("kcat")
	testenv.Require(t, "kcat", err)
	return run(t, stdin, path, append([]string{"-b", s.Addr()}, args...)...)
}

func run(t testing.TB, stdin []byte, path string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", path, args, err, &errs)
	}
	return out
}
