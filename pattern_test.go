package deed

import (
	"testing"

	"github.com/deedgo/deed/driver"
)

// words returns all words over the letters with at most n of them.
func words(letters string, n int) []string {
	all := []string{""}
	for from, i := 0, 0; i < n; i++ {
		to := len(all)
		for _, w := range all[from:to] {
			for _, c := range letters {
				all = append(all, w+string(c))
			}
		}
		from = to
	}
	return all
}

// Two patterns meet when there is a name that both match. Patterns of up to four
// characters meet in a name of up to six, or not at all.
func TestPatternsMeet(t *testing.T) {
	patterns, names := words("ab*", 4), words("ab", 6)
	matches := make(map[string]map[string]bool)
	for _, p := range patterns {
		matches[p] = make(map[string]bool)
		for _, name := range names {
			if driver.MatchTopic(p, name) {
				matches[p][name] = true
			}
		}
	}
	for _, p := range patterns {
		for _, q := range patterns {
			want := false
			for name := range matches[p] {
				want = want || matches[q][name]
			}
			if got := meet(p, q); got != want {
				t.Fatalf("meet(%q, %q) is %v, want %v", p, q, got, want)
			}
		}
	}
}
