package main

import (
	"fmt"
	"strings"
)

// skip is a test that did not run, and what it said about that.
type skip struct {
	test   testName
	reason string
}

// printSkips prints a line for each package and reason: an engine skips many
// checks for the same thing that it does not promise.
func (r *runner) printSkips() {
	if len(r.skips) == 0 {
		return
	}
	type cause struct{ pkg, reason string }
	var causes []cause
	tests := map[cause][]string{}
	for _, s := range r.skips {
		c := cause{s.test.pkg, s.reason}
		if tests[c] == nil {
			causes = append(causes, c)
		}
		tests[c] = append(tests[c], s.test.test)
	}
	fmt.Fprintf(r.out, "\n*** %d SKIPPED:\n", len(r.skips))
	for _, c := range causes {
		fmt.Fprintf(r.out, "*** %s: %s: %s", short(c.pkg), c.reason, tests[c][0])
		if more := len(tests[c]) - 1; more > 0 {
			fmt.Fprintf(r.out, " and %d more", more)
		}
		fmt.Fprintln(r.out)
	}
}

// reason finds what a skipped test said, among the runner's own lines.
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "gave no reason"
}
