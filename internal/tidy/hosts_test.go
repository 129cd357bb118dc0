package tidy

import (
	"bytes"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// homes are places on somebody's machine. The pattern is put together so that it
// does not find itself.
var homes = regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])/(` + `work|` + `root|` + `home/[a-z]+|` + `Users/[A-Za-z]+)/`)

// TestNoPlaces keeps paths of a machine and hosts of its registries out of the
// repository: they mean nothing anywhere else.
func TestNoPlaces(t *testing.T) {
	places := machinePlaces(t)
	var found []finding
	for name, text := range texts(t) {
		if name == "go.sum" || strings.HasSuffix(name, "/go.sum") {
			continue
		}
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if m := homes.Find(line); m != nil {
				found = append(found, finding{name, fmt.Sprintf("line %d names a place on one machine: %q", n, m)})
			}
			for _, place := range places {
				if bytes.Contains(line, []byte(place)) {
					found = append(found, finding{name, fmt.Sprintf("line %d names a place on this machine: %s", n, place)})
				}
			}
		}
	}
	report(t, "place", found)
}

// machinePlaces are this checkout's own directory and the hosts that the go
// command fetches modules from.
func machinePlaces(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	places := []string{here + "/"}
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatalf("go env GOPROXY: %v", err)
	}
	for _, proxy := range strings.FieldsFunc(string(out), func(r rune) bool { return r == ',' || r == '|' || r == '\n' }) {
		if u, err := url.Parse(proxy); err == nil && u.Host != "" {
			places = append(places, u.Host)
		}
	}
	return places
}
