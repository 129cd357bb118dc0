package cli_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/internal/kafkatest"
	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/internal/redistest"
	"github.com/deedgo/deed/internal/testenv"
)

// TestMain builds deed as users get it, for scripts and tests to run: what the race
// detector adds to time and memory would hide what they measure.
func TestMain(m *testing.M) {
	testenv.Parallel(6)
	os.Exit(withDeed(m))
}

func withDeed(m *testing.M) int {
	dir, err := os.MkdirTemp("", "deed-test-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-race=false", "-o", filepath.Join(dir, "deed"), "../../cmd/deed")
	if out, err := build.CombinedOutput(); err != nil {
		log.Fatalf("go build: %v\n%s", err, out)
	}
	os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return m.Run()
}

// TestScripts runs testdata/*.txtar: each is a session of a shell that reads like
// the command's documentation. Beside testscript's own commands there are
//
//	earthquakes FILE      writes a week of real events
//	await FILE REGEXP     waits until the file has a match
//	reject TOPIC GROUP    runs a group that rejects every event with "rotten": true
//	rejecting TOPIC GROUP does so until the script ends
//
// and the conditions [sqlite], [redis], [postgres] and [mysql] for what is so on one engine only.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "sqlite", nil)
}

// TestScriptsOnRedis runs the same scripts with another URL and nothing else, each with
// a prefix of its own.
func TestScriptsOnRedis(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync always")
	runScripts(t, "redis", func(name string) string { return s.URL() + "?prefix=" + name })
}

// TestScriptsOnPostgres does so on Postgres, each in a schema of its own.
func TestScriptsOnPostgres(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, pgtest.Durable)
	url := s.URL(s.Database(t))
	runScripts(t, "postgres", func(name string) string { return url + "&schema=" + name })
}

// TestScriptsOnMySQL does so on MariaDB, each in a database of its own.
func TestScriptsOnMySQL(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t, mariatest.Durable)
	runScripts(t, "mysql", func(string) string { return s.URL(s.Database(t)) })
}

// TestScriptsOfKafka runs testdata/kafka/*.txtar, which use kcat beside deed. $BROKER is the
// broker's address.
func TestScriptsOfKafka(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("kcat")
	testenv.Require(t, "kcat", err)
	s := kafkatest.Start(t)
	p := scripts("kafka")
	p.Dir = "testdata/kafka"
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("DEED_URL", s.URL())
		e.Setenv("DEED_STATE", "sqlite:"+filepath.Join(e.WorkDir, "state.db"))
		e.Setenv("BROKER", s.Addr())
		return nil
	}
	testscript.Run(t, p)
}

// runScripts runs those of all engines on one, whose URL for a script url returns.
func runScripts(t *testing.T, engine string, url func(script string) string) {
	p := scripts(engine)
	p.Setup = func(e *testscript.Env) error {
		if url != nil {
			e.Setenv("DEED_URL", url(filepath.Base(e.WorkDir)))
		}
		return nil
	}
	testscript.Run(t, p)
}

func scripts(engine string) testscript.Params {
	return testscript.Params{
		Dir: "testdata",
		Condition: func(name string) (bool, error) {
			if name != "sqlite" && name != "redis" && name != "postgres" && name != "mysql" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return name == engine, nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"earthquakes": writeEarthquakes,
			"await":       await,
			"reject":      reject,
			"rejecting":   rejecting,
		},
	}
}

func writeEarthquakes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: earthquakes FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data.Earthquakes(), 0o666))
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if text, ok := awaitMatch(ts.MkAbs(args[0]), re); !ok {
		ts.Fatalf("%s does not come to match %s:\n%s", filepath.Base(args[0]), args[1], text)
	}
}

// reject runs a service in this process until nothing is left for it to handle.
func reject(ts *testscript.TestScript, neg bool, args []string) {
	bus, stop := startRejecting(ts, neg, args)
	defer bus.Close()
	groups, ok := driver.As[driver.Groups](bus.Conn())
	if !ok {
		ts.Fatalf("the engine has no groups")
	}
	done := eventually(func() bool {
		lags, err := groups.Lag(context.Background(), args[1], args[0])
		ts.Check(err)
		events := int64(0)
		for _, l := range lags {
			events += l.Events
		}
		return len(lags) > 0 && events == 0
	})
	ts.Check(stop())
	if !done {
		ts.Fatalf("group %s does not come to an end", args[1])
	}
}

// rejecting runs that service until the script ends.
func rejecting(ts *testscript.TestScript, neg bool, args []string) {
	bus, stop := startRejecting(ts, neg, args)
	ts.Defer(func() {
		stop()
		bus.Close()
	})
}

func startRejecting(ts *testscript.TestScript, neg bool, args []string) (bus *deed.Bus, stop func() error) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reject TOPIC GROUP")
	}
	url := cmp.Or(ts.Getenv("DEED_URL"), "sqlite:"+ts.MkAbs("deed.db"))
	bus, err := engine.Open(context.Background(), url, &deed.Options{
		NoCreate: true, Logger: slog.New(slog.DiscardHandler),
	})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- bus.Run(ctx, deed.Subscribe(args[1], nil,
			deed.OnAny(deed.NewTopic(args[0], nil), func(_ context.Context, e deed.Received[[]byte]) error {
				if bytes.Contains(e.Data, []byte(`"rotten": true`)) {
					return deed.Reject(errors.New("the apple is rotten\n\x1b[31mred"))
				}
				return nil
			})))
	}()
	return bus, func() error {
		cancel()
		return <-ended
	}
}

// patience is how long a test waits for what should happen soon.
const patience = 2 * time.Minute

func awaitMatch(file string, re *regexp.Regexp) (text []byte, ok bool) {
	ok = eventually(func() bool {
		text, _ = os.ReadFile(file)
		return re.Match(text)
	})
	return text, ok
}

// eventually waits until cond holds, and reports whether it came to that.
func eventually(cond func() bool) bool {
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}
