package torture

import (
	"testing"
	"time"

	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestPostgres tortures a bus and the consumers' effects on one Postgres server.
func TestPostgres(t *testing.T) {
	s := pgtest.Start(t, pgtest.Durable)
	torturedServer(t, s, s.URL(s.Database(t)), s.URL(s.Database(t)))
}

// TestMariaDB tortures a bus and the consumers' effects on one MariaDB server.
func TestMariaDB(t *testing.T) {
	s := mariatest.Start(t, mariatest.Durable)
	torturedServer(t, s, s.URL(s.Database(t)), "mysql:"+s.DSN(s.Database(t)))
}

// torturedServer harms the workers, their connections to the bus, and the server.
func torturedServer(t *testing.T, s Server, url, effects string) {
	t.Helper()
	result := tortured(t, timed(t, Config{
		URL: url, Effects: effects, Network: true, Load: hardLoad, Command: buildWorker(t, ""), Gap: 300 * time.Millisecond,
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
