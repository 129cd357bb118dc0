package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The linker drops methods that nothing can call, which is worth most of the
// binary's size, but keeps every exported method of every type as soon as one
// reachable function looks methods up by name: executing a text/template does.
func TestNothingKeepsAllMethods(t *testing.T) {
	cmd := exec.Command("go", "build", "-ldflags=-dumpdep", "-o", filepath.Join(t.TempDir(), "deed"), ".")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%.2000s", err, out)
	}
	if !bytes.Contains(out, []byte("main.main")) {
		t.Fatalf("the linker printed no dependencies: %.2000s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "<ReflectMethod>") {
			t.Errorf("looks methods up by name: %s", line)
		}
	}
}
