//go:build unix

package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

// One topic has lost a marker, and the record of another is not readable: the others
// are listed all the same, and these are named with what to do.
func TestDamagedTopicsAreListed(t *testing.T) {
	s := redistest.Start(t)
	t.Setenv("DEED_URL", s.URL())
	dir := t.TempDir()
	for _, name := range []string{"fine", "lost", "newer"} {
		mustRun(t, dir, nil, "topics", "create", name, "--partitions", "3")
	}
	mustRun(t, dir, strings.NewReader("{}\n{}\n{}\n{}\n"), "pub", "fine")
	for _, args := range [][]string{
		{"DEL", "deed:{lost:0}:meta", "deed:{lost:2}:meta"}, {"HSET", "deed:{newer}", "format", "99"},
	} {
		if _, err := s.Command(args...); err != nil {
			t.Fatal(err)
		}
	}
	r := finish(t, deedCmd(dir, nil, "topics"))
	if r.code != 1 {
		t.Errorf("deed topics ends with %d, want 1", r.code)
	}
	for _, want := range []string{"fine", "lost", "newer"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("topic %s is not listed:\n%s", want, r.stdout)
		}
	}
	for _, want := range []string{
		"topic lost is damaged: no marker of partition 0, 2: ", "`deed topics create lost`",
		"topic newer is damaged: ", "this version knows 1 (update deed)",
	} {
		if !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "topic fine") {
			t.Errorf("%q is not said, or too much is:\n%s", want, r.stderr)
		}
	}
	r = finish(t, deedCmd(dir, nil, "topics", "-o", "json"))
	var doc struct {
		Topics []struct{ Name, Damage string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 1 || len(doc.Topics) != 3 {
		t.Fatalf("as JSON, with %d: %v\n%s", r.code, err, r.stdout)
	}
	if doc.Topics[0].Damage != "" || doc.Topics[1].Damage == "" || doc.Topics[2].Damage == "" {
		t.Errorf("as JSON: %+v", doc.Topics)
	}
	if r := finish(t, deedCmd(dir, nil, "topics", "show", "lost")); r.code != 1 || !strings.Contains(r.stderr, "damaged") {
		t.Errorf("shown with %d: %s", r.code, r.stderr)
	}
	mustRun(t, dir, nil, "topics", "create", "lost", "--partitions", "3")
	mustRun(t, dir, nil, "topics", "show", "lost")
}
