package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

func TestFilesAreUpToDate(t *testing.T) {
	want, err := pages(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, page := range want {
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, page) {
			t.Errorf("%s is out of date (run: go run ./internal/enginesdoc)", path)
		}
	}
}

func TestEveryPromiseHasARow(t *testing.T) {
	for field := range reflect.TypeFor[driver.Features]().Fields() {
		if field.Name == "Engine" || field.Name == "Setting" || field.Name == "Advice" {
			continue // the column's head, and advice
		}
		if !slices.ContainsFunc(promises, func(p promise) bool { return p.field == field.Name }) {
			t.Errorf("docs/engines.md has no row for Features.%s (add it to promises)", field.Name)
		}
	}
}

func TestEveryEngineHasAColumn(t *testing.T) {
	engines, err := open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range engine.Schemes() {
		scheme = strings.Replace(scheme, "rediss", "redis", 1) // the same over TLS
		scheme = strings.Replace(scheme, "mqtts", "mqtt", 1)
		scheme = strings.Replace(scheme, "amqps", "amqp", 1)
		scheme = strings.Replace(scheme, "postgresql", "postgres", 1) // another name
		if !slices.ContainsFunc(engines, func(e opened) bool { return strings.HasPrefix(e.url, scheme+":") }) {
			t.Errorf("docs/engines.md has no column for %s: (add it to open)", scheme)
		}
	}
}

func TestCells(t *testing.T) {
	strong := driver.Features{Durability: driver.Quorum, Groups: true, MaxEventBytes: 3 << 20}
	weak := driver.Features{Durability: driver.Memory, MaxEventBytes: 1000}
	for _, c := range []struct {
		field        string
		strong, weak string
	}{
		{"Durability", "the loss of a minority of nodes", "nothing: it ends with the process"},
		{"Groups", "yes", "–"},
		{"MaxEventBytes", "3 MiB", "1000 bytes"},
	} {
		i := slices.IndexFunc(promises, func(p promise) bool { return p.field == c.field })
		if got := promises[i].cell(strong); got != c.strong {
			t.Errorf("%s of the strong engine is %q, want %q", c.field, got, c.strong)
		}
		if got := promises[i].cell(weak); got != c.weak {
			t.Errorf("%s of the weak engine is %q, want %q", c.field, got, c.weak)
		}
	}
}

// TestEveryInterfaceHasARow reads the interfaces of package driver that are optional.
func TestEveryInterfaceHasARow(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "driver", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of package driver: %v", err)
	}
	required := []string{"Conn", "Subscription", "Execer"} // the last is what Intake is given
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^type (\w+) interface`).FindAllStringSubmatch(string(text), -1) {
			listed := false
			for _, c := range capabilities {
				listed = listed || c.name == m[1]
			}
			if !listed && !slices.Contains(required, m[1]) {
				t.Errorf("docs/engines.md has no row for driver.%s (add it to capabilities)", m[1])
			}
		}
	}
}
