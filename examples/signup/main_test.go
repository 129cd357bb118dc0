package main

import (
	"bytes"
	"strings"
	"testing"
)

// Every consumer has done its part exactly once: six events, five people, Ada by
// both ways.
func TestSession(t *testing.T) {
	var out bytes.Buffer
	if err := session(t.Context(), &out, t.TempDir()); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		`"Ada again"}`,
		"409 Conflict",
		"4 lines: 4 events stored, 0 known already",
		"4 lines: 0 events stored, 4 known already",
		"ada@example.org      Ada      20 points",
		"barbara@example.org  Barbara  10 points",
		"donald@example.org   Donald   10 points",
		"edsger@example.org   Edsger   10 points",
		"grace@example.org    Grace    10 points",
		"mailing-list   ada@example.org, barbara@example.org, donald@example.org\n",
		"welcome        grace@example.org: Welcome, Grace!",
		"for 6 mails",
		"2 by the page, 4 by the import",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
