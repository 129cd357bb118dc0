package torture

import (
	"testing"
	"time"

	"github.com/deedgo/deed/internal/mariatest"
)

// TestMySQL is TestRedis on MariaDB.
func TestMySQL(t *testing.T) {
	s := mariatest.Start(t, mariatest.Durable)
	result := tortured(t, timed(t, Config{
		URL: s.URL(s.Database(t)), Network: true, Load: hardLoad, Command: buildWorker(t, ""), Gap: 300 * time.Millisecond,
		Faults: func(c *Cluster) []Fault {
			return append(append(DefaultFaults(c), c.NetworkFaults()...), c.ServerFault(s, 2))
		},
	}))
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if weak := result.Weak(); weak != "" {
		t.Error(weak)
	}
}
