package tidy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	std    = "std"    // the standard library
	others = "others" // other people's modules
	all    = "all"    // whatever it likes
)

// importRules say what a package may import outside of its tests. The first rule
// whose pattern fits counts; a package without a rule fails, so that a new one
// gets a place in the house.
var importRules = []struct {
	pattern string // as in path.Match, from the module's root
	may     []string
}{
	{".", []string{std, "driver"}},
	{"driver", []string{std}},
	{"driverkit", []string{std, "driver"}},
	{"drivertest", []string{std, "driver"}},
	{"sqldb", []string{std, "modernc.org/sqlite", "golang.org/x/sys"}}, // a file lock on Windows
	{"engine", []string{all}},
	{"engine/deed*", []string{std, "driver", "driverkit", "sqldb", others}},
	{"outbox", []string{std, ".", "driver", "sqldb"}},
	{"inbox", []string{std, ".", "driver", "sqldb"}},
	{"bridge", []string{std, ".", "driver", "engine/deedmqtt"}},
	{"deadletter", []string{std, ".", "driver"}},
	{"deedproto", []string{std, ".", "google.golang.org/protobuf"}},
	{"deedtest", []string{std, ".", "driver", "deadletter", "engine/deedmem", "engine/deedsql"}},
	{"cmd/deed", []string{std, "internal/cli"}},
	{"internal/*", []string{all}},
	{"internal/*/*", []string{all}},
	{"internal/*/*/*", []string{all}},
	{"examples/*", []string{all}},
	{"examples/*/*", []string{all}},
	{"examples/*/*/*", []string{all}},
}

// notInBinary must never be linked into cmd/deed.
var notInBinary = []string{
	"testing", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/rogpeppe/go-internal/testscript",
	module + "/deedtest", module + "/examples",
	module + "/internal/fault", module + "/internal/listentest", module + "/internal/redistest",
	module + "/internal/pgtest", module + "/internal/mariatest", module + "/internal/mqtttest",
	module + "/internal/rabbittest", module + "/internal/testserver",
	module + "/internal/testenv", module + "/internal/tidy", module + "/internal/torture",
}

type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

// list asks the go command about packages and all that they are built from.
func list(t *testing.T, patterns ...string) map[string]listed {
	t.Helper()
	args := append([]string{"list", "-e", "-deps", "-json=ImportPath,Imports,Standard,Module"}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

func TestImports(t *testing.T) {
	packages := list(t, "./...")
	var found []finding
	for _, p := range packages {
		if p.Module == nil || p.Module.Path != module {
			continue
		}
		from := inModule(p.ImportPath)
		may := importRuleOf(from)
		if may == nil {
			t.Errorf("%s has no import rule: add one to importRules, and to docs/architecture.md", from)
			continue
		}
		for _, to := range p.Imports {
			if !mayImport(may, from, to, packages[to].Standard) {
				found = append(found, finding{from, "imports " + to + ", which the map of the house does not allow"})
			}
		}
	}
	report(t, "import", found)
}

func TestImportRulesCatch(t *testing.T) {
	for _, c := range []struct {
		from, to string
		standard bool
		want     bool
	}{
		{"driver", "context", true, true},
		{"driver", module, false, false},
		{".", module + "/driver", false, true},
		{".", module + "/engine/deedsql", false, false},
		{".", "github.com/spf13/cobra", false, false},
		{"engine/deedmem", module + "/engine/deedsql", false, false},
		{"engine/deedmem", module, false, false},
		{"engine/deedsql", module + "/sqldb", false, true},
		{"engine/deedsql", "modernc.org/sqlite/lib", false, true},
		{"sqldb", "modernc.org/sqlite/lib", false, true},
		{"outbox", module + "/inbox", false, false},
		{"inbox", module, false, true},
		{"drivertest", "testing", true, false},
		{"deedproto", "google.golang.org/protobuf/proto", false, true},
		{".", "google.golang.org/protobuf/proto", false, false},
		{".", module + "/deedproto", false, false},
		{"deedtest", module + "/engine/deedmem", false, true},
		{"deedtest", module + "/outbox", false, false},
		{"internal/cli", module + "/engine", false, true},
	} {
		if got := mayImport(importRuleOf(c.from), c.from, c.to, c.standard); got != c.want {
			t.Errorf("%s importing %s: allowed %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func importRuleOf(from string) []string {
	for _, r := range importRules {
		if ok, _ := path.Match(r.pattern, from); ok {
			return r.may
		}
	}
	return nil
}

func mayImport(may []string, from, to string, standard bool) bool {
	switch {
	case slices.Contains(may, all):
		return true
	case from == "drivertest" && to == "testing":
		return false // deed check carries the suite in the binary
	case standard:
		return slices.Contains(may, std)
	case to == module || strings.HasPrefix(to, module+"/"):
		to = inModule(to)
		return slices.Contains(may, to) || strings.HasPrefix(to, from+"/internal/")
	}
	return slices.Contains(may, others) || slices.ContainsFunc(may, func(m string) bool {
		return to == m || strings.HasPrefix(to, m+"/")
	})
}

// inModule returns a package's path from the module's root, "." for the root.
func inModule(importPath string) string {
	return strings.TrimPrefix(path.Join(".", strings.TrimPrefix(importPath, module)), "/")
}

// TestBinaryHoldsNoTests keeps test libraries out of what users run.
func TestBinaryHoldsNoTests(t *testing.T) {
	for linked := range list(t, "./cmd/deed") {
		for _, bad := range notInBinary {
			if linked == bad || strings.HasPrefix(linked, bad+"/") {
				t.Errorf("cmd/deed links %s", linked)
			}
		}
	}
}
