package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/internal/cli"
)

// TestMain lets scripts and tests run this binary as deed.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"deed": func() { os.Exit(cli.Main()) },
	})
}

// TestScripts runs testdata/*.txtar: each is a session of a shell that reads like
// the command's documentation. Beside testscript's own commands there are
//
//	earthquakes FILE      writes a week of real events
//	await FILE REGEXP     waits until the file has a match
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"earthquakes": writeEarthquakes,
			"await":       await,
		},
	})
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

// patience is how long a test waits for what should happen soon.
const patience = 30 * time.Second

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
