package main

import (
	"strings"
	"testing"
	"time"
)

// The streams are what go test -json prints, shortened.
func TestFollow(t *testing.T) {
	const (
		m    = `"Package":"github.com/deedgo/deed/outbox"`
		pass = `{"Action":"run",` + m + `,"Test":"TestA"}
{"Action":"output",` + m + `,"Test":"TestA","Output":"chatter\n"}
{"Action":"pass",` + m + `,"Test":"TestA","Elapsed":0.1}
`
		ended = `{"Action":"pass",` + m + `,"Elapsed":0.2}` + "\n"
	)
	for _, c := range []struct {
		name, stream   string
		passed, failed int
		want           []string // in what is printed
		wantNot        string
	}{
		{name: "pass", stream: pass + ended, passed: 1,
			want: []string{"ok    ./outbox", "\n1 passed, 0 failed\n"}, wantNot: "chatter"},
		{name: "fail", passed: 1, failed: 1,
			stream: pass + `{"Action":"output",` + m + `,"Test":"TestB","Output":"got 1, want 2\n"}
{"Action":"fail",` + m + `,"Test":"TestB"}
{"Action":"fail",` + m + `,"Elapsed":0.2}
`,
			want: []string{"FAIL  ./outbox", "TestB", "got 1, want 2",
				"\nFAIL  github.com/deedgo/deed/outbox TestB\n\ntook 0s\n1 passed, 1 failed\n"}},
		{name: "skip is loud", passed: 1,
			stream: pass + `{"Action":"output",` + m + `,"Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output",` + m + `,"Test":"TestB","Output":"    b_test.go:7: wants a moon\n"}
{"Action":"skip",` + m + `,"Test":"TestB"}
` + ended,
			want: []string{"1 SKIPPED", "./outbox: b_test.go:7: wants a moon: TestB\n", "\n1 passed, 0 failed\n"}},
		{name: "does not build", failed: 1,
			stream: `{"Action":"build-output","ImportPath":"deed/outbox","Output":"x.go:1: syntax error\n"}
{"Action":"build-fail","ImportPath":"deed/outbox"}
{"Action":"fail",` + m + `,"Elapsed":0,"FailedBuild":"deed/outbox"}
`,
			want: []string{"FAIL  ./outbox", "x.go:1: syntax error", "\n0 passed, 1 failed\n"}},
		{name: "process ended inside a test", passed: 1, failed: 1,
			stream: pass + `{"Action":"run",` + m + `,"Test":"TestB"}
{"Action":"output",` + m + `,"Test":"TestB","Output":"about to die\n"}
{"Action":"output",` + m + `,"Output":"exit status 3\n"}
{"Action":"fail",` + m + `,"Elapsed":0.2}
`,
			want: []string{"exit status 3", "still running: TestB", "about to die", "\n1 passed, 1 failed\n"}},
		{name: "slow tests are named", passed: 3,
			stream: pass + `{"Action":"pass",` + m + `,"Test":"TestB/part","Elapsed":99}
{"Action":"pass",` + m + `,"Test":"TestB","Elapsed":99.5}
` + ended,
			want: []string{"slowest:\n  99.5s  ./outbox TestB\n\n"}, wantNot: "TestB/part"},
		{name: "lines that are no JSON are shown", stream: "warning: something\n" + pass + ended, passed: 1,
			want: []string{"warning: something"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			r := &runner{out: &out, start: time.Now()}
			r.follow(strings.NewReader(c.stream))
			if ok := r.summary(); ok != (c.failed == 0) {
				t.Errorf("summary says %v", ok)
			}
			if r.passed != c.passed || r.failed != c.failed {
				t.Errorf("got %d passed, %d failed, want %d and %d", r.passed, r.failed, c.passed, c.failed)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("does not print %q:\n%s", want, out.String())
				}
			}
			if c.wantNot != "" && strings.Contains(out.String(), c.wantNot) {
				t.Errorf("prints %q:\n%s", c.wantNot, out.String())
			}
		})
	}
}

func TestTailIsBounded(t *testing.T) {
	var tail tail
	for range 3 * tailLines {
		tail.add("line\n")
	}
	tail.add("the end\n")
	if len(tail.lines) > tailLines {
		t.Errorf("keeps %d lines, want at most %d", len(tail.lines), tailLines)
	}
	if text := tail.text(); !strings.HasSuffix(text, "the end\n") || !strings.HasPrefix(text, "(") {
		t.Errorf("begins %q, ends %q", text[:20], text[len(text)-20:])
	}
}
