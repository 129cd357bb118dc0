package torture

import (
	"testing"
	"time"

	"github.com/deedgo/deed/internal/natstest"
)

// TestNATS tortures a JetStream that has every acknowledged message on its disk: besides
// its workers, their connections and the server itself come to harm.
func TestNATS(t *testing.T) {
	s := natstest.Start(t, "sync_interval: always")
	result := tortured(t, timed(t, Config{
		URL: s.URL(), Network: true, Load: hardLoad, Command: buildWorker(t, ""), Gap: 300 * time.Millisecond,
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
