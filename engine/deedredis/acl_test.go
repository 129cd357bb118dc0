package deedredis

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deedgo/deed/drivertest"
	"github.com/deedgo/deed/internal/redistest"
)

// restricted returns the line of deploy/redis/deed.acl, with a password.
func restricted(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "redis", "deed.acl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "user deed ") {
			return strings.TrimSpace(line) + " >geheim"
		}
	}
	t.Fatal("deploy/redis/deed.acl has no line for the user deed")
	return ""
}

// The whole suite passes as a user with the rights that deed ships, and with no other.
func TestConformanceRestricted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", restricted(t))
	drivertest.Test(t, harness(as(t, s, "deed", "geheim")))
	if refused := command(t, s, "ACL", "LOG"); refused != "" {
		t.Errorf("the server refused something:\n%s", refused)
	}
	used := command(t, s, "INFO", "commandstats")
	for word := range strings.FieldsSeq(restricted(t)) {
		name, ok := strings.CutPrefix(word, "+")
		if ok && !slices.Contains(elsewhere, name) && !strings.Contains(used, "cmdstat_"+name+":") {
			t.Errorf("%s is allowed, and not needed", name)
		}
	}
}

// elsewhere is what a single server with the default URL is not asked.
var elsewhere = []string{"select", "role", "cluster|slots", "cluster|shards", "cluster|info", "wait"}

func TestConformanceRestrictedOnCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, "appendonly yes", restricted(t))
	drivertest.Test(t, harness(strings.Replace(c.URL(), "redis://", "redis://deed:geheim@", 1)))
	for _, n := range c.Nodes() {
		if refused := command(t, n, "ACL", "LOG"); refused != "" {
			t.Errorf("%s refused something:\n%s", n.Addr(), refused)
		}
	}
}
