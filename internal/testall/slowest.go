package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// slowest keeps the tests that took longest, the longest first. Where a run is too long,
// these are where to look.
type slowest []slowTest

type slowTest struct {
	test    testName
	seconds float64
}

const (
	slowTests   = 15
	slowSeconds = 10 // what is faster is not slow
)

// add takes a test into account, unless it is a part of another.
func (s *slowest) add(test testName, seconds float64) {
	if seconds < slowSeconds || strings.Contains(test.test, "/") {
		return
	}
	*s = append(*s, slowTest{test, seconds})
	slices.SortStableFunc(*s, func(a, b slowTest) int { return cmp.Compare(b.seconds, a.seconds) })
	*s = (*s)[:min(len(*s), slowTests)]
}

func (s slowest) print(out io.Writer) {
	if len(s) == 0 {
		return
	}
	fmt.Fprintln(out, "\nslowest:")
	for _, t := range s {
		fmt.Fprintf(out, "%6.1fs  %s\n", t.seconds, short(t.test.String()))
	}
}
