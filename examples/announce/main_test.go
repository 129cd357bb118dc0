package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

// The display misses exactly the ten rounds of five sensors while it is away, on every
// engine, and the README says so.
func TestSession(t *testing.T) {
	t.Run("memory", func(t *testing.T) { checkSession(t, "mem+pubsub:announce-test") })
	t.Run("redis", func(t *testing.T) {
		url := redistest.Start(t).URL()
		checkSession(t, strings.Replace(url, "redis:", "redis+pubsub:", 1))
	})
	t.Run("cluster", func(t *testing.T) {
		url := redistest.StartCluster(t, 3).URL()
		checkSession(t, strings.Replace(url, "redis:", "redis+pubsub:", 1))
	})
}

func checkSession(t *testing.T, busURL string) {
	t.Helper()
	var out bytes.Buffer
	if err := session(t.Context(), &out, busURL); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, out.Bytes()) {
		t.Errorf("README.md does not show what was printed:\n%s", &out)
	}
	for _, want := range []string{
		"thermostat  sensors.*        150       0\n",
		"oven-watch  *.oven            30       0\n",
		"display     sensors.*        100      50\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not among what was printed:\n%s", want, &out)
		}
	}
}

// An engine that stores events is refused with the way out.
func TestSessionOnAnEngineThatStores(t *testing.T) {
	err := session(t.Context(), &bytes.Buffer{}, "mem:")
	if err == nil || !strings.Contains(err.Error(), "pattern") {
		t.Errorf("a session on mem: ends with %v", err)
	}
}
