package tidy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/freeport"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/mqtttest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/redistest"
	"github.com/deedgo/deed/internal/testenv"
)

// TestGuideSession runs the shell blocks of the guides that are sessions, which follow
// "<!-- run -->", one after the other in one folder, and compares what they print
// with the block that follows "<!-- prints -->".
func TestGuideSession(t *testing.T) {
	for guide, blocks := range map[string]int{"docs/guides/command-line.md": 8, "docs/guides/pipes.md": 8} {
		t.Run(filepath.Base(guide), func(t *testing.T) { runGuide(t, guide, blocks, os.Environ()) })
	}
	t.Run("postgres.md", func(t *testing.T) { runGuide(t, "docs/guides/postgres.md", 2, postgresEnv(t)) })
	t.Run("mysql.md", func(t *testing.T) { runGuide(t, "docs/guides/mysql.md", 2, mysqlEnv(t)) })
	t.Run("redis.md", func(t *testing.T) { runGuide(t, "docs/guides/redis.md", 8, redisEnv(t)) })
	t.Run("mqtt.md", func(t *testing.T) {
		env, here := mqttEnv(t)
		runGuide(t, "docs/guides/mqtt.md", 7, env, here...)
	})
}

// mqttEnv is the environment of a session with a broker and the order services, and what
// the guide's addresses are here.
func mqttEnv(t *testing.T) (env, here []string) {
	_, err := exec.LookPath("curl")
	testenv.Require(t, "curl, to run the guide", err)
	s := mqtttest.Start(t)
	programs := t.TempDir()
	build(t, "./examples/orders", filepath.Join(programs, "orders"))
	path := []string{programs}
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		client, err := exec.LookPath(name)
		testenv.Require(t, name+", to run the guide", err)
		path = append(path, wrapped(t, name, client, "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port())))
	}
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	env = append(os.Environ(), "DEED_URL=sqlite:bus.db")
	for _, dir := range path {
		env = inFront(env, dir)
	}
	return env, []string{"mqtt://localhost", s.URL(), "localhost:8081", fmt.Sprint("localhost:", port)}
}

// redisEnv is the environment of a session with a server, which redis-cli finds as if
// it were at the usual port.
func redisEnv(t *testing.T) []string {
	cli, err := exec.LookPath("redis-cli")
	testenv.Require(t, "redis-cli, to run the guide", err)
	s := redistest.Start(t)
	host, port, _ := strings.Cut(s.Addr(), ":")
	return append(os.Environ(), "DEED_URL="+s.URL(), with(t, "redis-cli", cli, "-h", host, "-p", port))
}

// mysqlEnv is the same with mariadb, which finds the database.
func mysqlEnv(t *testing.T) []string {
	cli, err := exec.LookPath("mariadb")
	testenv.Require(t, "mariadb, to run the guide", err)
	s := mariatest.Start(t)
	host, port, _ := strings.Cut(s.Addr(), ":")
	database := s.Database(t)
	return append(os.Environ(), "DEED_URL="+s.URL(database),
		with(t, "mariadb", cli, "--no-defaults", "-u", "root", "-h", host, "-P", port, "-D", database))
}

// with returns PATH with a program that runs a command, with further arguments, in front.
func with(t *testing.T, program string, command ...string) string {
	return "PATH=" + wrapped(t, program, command...) + string(os.PathListSeparator) + os.Getenv("PATH")
}

// wrapped returns a folder with a program that runs a command, with further arguments.
func wrapped(t *testing.T, program string, command ...string) string {
	bin := t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", strings.Join(command, "' '"))
	if err := os.WriteFile(filepath.Join(bin, program), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

// postgresEnv is the same with psql.
func postgresEnv(t *testing.T) []string {
	_, err := exec.LookPath("psql")
	testenv.Require(t, "psql, to run the guide", err)
	s := pgtest.Start(t)
	host, port, _ := strings.Cut(s.Addr(), ":")
	database := s.Database(t)
	return append(os.Environ(), "DEED_URL="+s.URL(database), "PGHOST="+host, "PGPORT="+port, "PGUSER=postgres",
		"PGDATABASE="+database)
}

// runGuide runs a guide that has at least so many blocks. What it says for something else
// here is given in pairs. Processes that it leaves in the background are those of its files
// *.pid.
func runGuide(t *testing.T, guide string, least int, env []string, here ...string) {
	shell, err := exec.LookPath("sh")
	testenv.Require(t, "a POSIX shell, to run the guide", err)
	const data = "earthquakes.ndjson"
	dir, bin := t.TempDir(), filepath.Join(t.TempDir(), "deed")
	build(t, "./cmd/deed", bin)
	t.Cleanup(func() { killLeft(dir) })
	env = inFront(env, filepath.Dir(bin))
	feed, err := os.ReadFile(filepath.Join(root, "examples", "data", data))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, data), feed, 0o644); err != nil {
		t.Fatal(err)
	}

	printed := ""
	blocks := marked(string(texts(t)[guide]))
	for _, b := range blocks {
		if b.mark == "prints" {
			if b.text != printed {
				t.Errorf("%s: the block before prints\n%s\nwant\n%s", guide, printed, b.text)
			}
			continue
		}
		cmd := exec.Command(shell, "-eu", "-c", strings.NewReplacer(here...).Replace(b.text))
		cmd.Dir = dir
		cmd.Env = env
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", guide, err, b.text, stderr.String())
		}
		printed = string(out)
	}
	if len(blocks) < least {
		t.Errorf("%s has %d blocks to run or compare: are the marks still there?", guide, len(blocks))
	}
}

// killLeft ends the processes whose numbers a guide has left in files.
func killLeft(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill() //nolint:errcheck // as a rule it has ended
		}
	}
}

// inFront puts a folder in front of the PATH of an environment.
func inFront(env []string, dir string) []string {
	path := os.Getenv("PATH")
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value // the last one counts
		}
	}
	return append(slices.Clone(env), "PATH="+dir+string(os.PathListSeparator)+path)
}

type block struct{ mark, text string }

// marked returns the code blocks behind a mark "<!-- run -->" or "<!-- prints -->".
func marked(text string) (blocks []block) {
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i+1 < len(lines); i++ {
		mark := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(lines[i]), "<!-- "), " -->")
		if mark != "run" && mark != "prints" {
			continue
		}
		var b strings.Builder
		for i += 2; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
			b.WriteString(lines[i])
		}
		blocks = append(blocks, block{mark, b.String()})
	}
	return blocks
}
