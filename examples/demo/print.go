package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// step begins a step of the story.
func step(w io.Writer, n int, format string, args ...any) {
	fmt.Fprintf(w, "\n%d  %s\n", n, fmt.Sprintf(format, args...))
}

// say writes one line of it.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "   %s\n", fmt.Sprintf(format, args...))
}

const barWidth = 20

// printView writes the view as a table, the busiest network first, with a bar.
func printView(w io.Writer, c counts) {
	sum := func(network string) (n int) {
		for _, k := range c[network] {
			n += k
		}
		return n
	}
	networks := slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		return cmp.Or(cmp.Compare(sum(b), sum(a)), cmp.Compare(a, b))
	})
	head := "   network "
	for _, b := range bands {
		head += fmt.Sprintf("%6s", b.name)
	}
	fmt.Fprintln(w, head+"    all")
	for _, network := range networks {
		fmt.Fprintf(w, "   %-8s", network)
		for _, n := range c[network] {
			cell := comma(n)
			if n == 0 {
				cell = "·"
			}
			fmt.Fprintf(w, "%6s", cell)
		}
		fmt.Fprintf(w, "%7s  %s\n", comma(sum(network)), bar(sum(network), sum(networks[0])))
	}
}

// bar draws n against the longest, to an eighth of a letter.
func bar(n, longest int) string {
	eighths := n * barWidth * 8 / longest
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return cmp.Or(full, "▏")
}

func printStandings(w io.Writer, standings map[string]standing, handled map[string]int) {
	say(w, "%-10s%10s%14s%10s%10s", "group", "handled", "dead letters", "parked", "lag")
	for _, group := range slices.Sorted(maps.Keys(standings)) {
		s := standings[group]
		say(w, "%-10s%10s%14d%10d%10d", group, comma(handled[group]), s.dead, s.parked, s.lag)
	}
}

// comma writes n with a comma between thousands.
func comma(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
