package testenv_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/testenv"
)

// program does fn and returns its error.
func program(t *testing.T, fn func(t testing.TB)) error {
	t.Helper()
	return testenv.Program(t.Context(), t.Logf, fn)
}

func TestProgramCleansUpBackwards(t *testing.T) {
	var did []string
	dir := ""
	err := program(t, func(t testing.TB) {
		t.Cleanup(func() { did = append(did, "first") })
		t.Cleanup(func() {
			did = append(did, "second")
			t.Cleanup(func() { did = append(did, "late") })
		})
		dir = t.TempDir()
	})
	if want := []string{"second", "late", "first"}; err != nil || !slices.Equal(did, want) {
		t.Errorf("cleaned up %v with error %v, want %v", did, err, want)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestProgramReturnsWhatFailed(t *testing.T) {
	cleaned, went := false, false
	err := program(t, func(t testing.TB) {
		t.Cleanup(func() { cleaned = true })
		t.Errorf("the %s", "first")
		if !t.Failed() {
			t.Error("it does not know that it failed")
		}
		testenv.Require(t, "a server", context.DeadlineExceeded)
		went = true
	})
	if err == nil || !strings.Contains(err.Error(), "the first") || !strings.Contains(err.Error(), "wants a server") {
		t.Errorf("the error is %v", err)
	}
	if went || !cleaned {
		t.Errorf("it went on: %t; it cleaned up: %t", went, cleaned)
	}
}

func TestProgramPanicsInItsCaller(t *testing.T) {
	defer func() {
		if p := recover(); p != "boom" {
			t.Errorf("recovered %v", p)
		}
	}()
	program(t, func(testing.TB) { panic("boom") })
}
