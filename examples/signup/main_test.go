package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

// Every consumer has done its part exactly once: five people, five events.
func TestSession(t *testing.T) {
	dir := t.TempDir()
	for _, busURL := range []string{"sqlite:" + filepath.Join(dir, "bus.db"), "mem:", redistest.Start(t).URL()} {
		t.Run(busURL[:3], func(t *testing.T) { checkSession(t, t.TempDir(), busURL) })
	}
}

func checkSession(t *testing.T, dir, busURL string) {
	t.Helper()
	var out bytes.Buffer
	if err := session(t.Context(), &out, dir, busURL); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		`"Ada again"}`,
		"409 Conflict",
		"3 lines: stored 3 events, knew 0 already",
		"3 lines: stored 0 events, knew 3 already",
		"ada@example.org      Ada      10 points",
		"barbara@example.org  Barbara  10 points",
		"donald@example.org   Donald   10 points",
		"edsger@example.org   Edsger   10 points",
		"grace@example.org    Grace    10 points",
		"mailing-list   ada@example.org, barbara@example.org, donald@example.org\n",
		"welcome        grace@example.org: Welcome, Grace!",
		"for 5 mails",
		"2 by the page, 3 by the import",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
