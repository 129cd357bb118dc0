package tidy

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	directRequirements = 18 // projects; above it, split the module or write the sixty lines yourself
	binaryBytes        = 40 << 20
)

// TestModule keeps the module light for those who import it.
func TestModule(t *testing.T) {
	text := string(texts(t)["go.mod"])
	for _, bad := range []string{"tool", "replace", "exclude"} {
		if regexp.MustCompile(`(?m)^` + bad + `\b`).MatchString(text) {
			t.Errorf("go.mod has a %s line: tools belong in tools/go.mod, the others break go install …@version", bad)
		}
	}
	direct := make(map[string]bool) // by project, which may have several modules
	requirement := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/?\S*) v\S+(.*)$`)
	for _, m := range requirement.FindAllStringSubmatch(text, -1) {
		if project, _, _ := strings.Cut(m[1], "/pkg/"); !strings.Contains(m[2], "indirect") {
			direct[project] = true
		}
	}
	if len(direct) > directRequirements {
		t.Errorf("go.mod requires %d projects directly (want at most %d): %v", len(direct), directRequirements,
			slices.Sorted(maps.Keys(direct)))
	}
	const pin = "modernc.org/sqlite v1.60.1"
	if !strings.Contains(text, pin+"\n") && !strings.Contains(text, pin+" ") {
		t.Errorf("go.mod does not require %s: docs/adr/0006-sqlite-in-pure-go.md says why it is pinned", pin)
	}
}

// TestBinary builds cmd/deed as users get it: static, without a C compiler.
func TestBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "deed")
	build(t, "./cmd/deed", binary)
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > binaryBytes {
		t.Errorf("the binary has %d bytes (want at most %d): what keeps every method alive?", info.Size(), binaryBytes)
	}
	if out, err := exec.Command(binary, "version").CombinedOutput(); err != nil {
		t.Errorf("deed version: %v\n%s", err, out)
	}
}

func build(t *testing.T, program, binary string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}
