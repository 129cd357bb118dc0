package torture

import (
	"testing"
	"time"

	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/pgtest"
	"github.com/deedgo/deed/sqldb"
)

// TestPostgresJoint tortures a bus that lives in the consumers' own database: handlers
// settle in the transactions of their effects.
func TestPostgresJoint(t *testing.T) {
	t.Parallel() // it mostly waits
	s := pgtest.Start(t, pgtest.Durable)
	url := s.URL(s.Database(t))
	torturedJoint(t, url, url)
}

// TestMariaDBJoint does so on MariaDB.
func TestMariaDBJoint(t *testing.T) {
	t.Parallel()
	s := mariatest.Start(t, mariatest.Durable)
	name := s.Database(t)
	torturedJoint(t, s.URL(name), "mysql:"+s.DSN(name))
}

// torturedJoint harms the workers, and fails when handlers noted events in a table of their
// own.
func torturedJoint(t *testing.T, url, effects string) {
	t.Helper()
	result := tortured(t, timed(t, Config{
		URL: url, Effects: effects, Command: buildWorker(t, ""), For: 6 * time.Second,
		Gap: 300 * time.Millisecond, Faults: DefaultFaults,
	}))
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	db, err := openEffects(effects)
	if err != nil {
		t.Fatal(err)
	}
	defer closeEffects(db)
	var n int
	if err := db.SQL().QueryRow("select count(*) from deed_inbox").Scan(&n); !sqldb.IsNoTable(err) {
		t.Errorf("there is an inbox with %d rows: %v", n, err)
	}
}

// The planted bug "inbox" is caught there too: the engine's note commits before the effect.
func TestPlantedBugIsCaughtJoint(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t)
	config := Config{
		Seed: 1, For: 5 * time.Second, Gap: 600 * time.Millisecond, Load: Load{Dwell: 5 * time.Millisecond, Rate: 100},
		Faults:     func(c *Cluster) []Fault { return []Fault{c.KillFault(c.Consumers, 1)} },
		Publishers: 4, Stuck: 5 * time.Second, Command: buildWorker(t, "seedbug"), Env: []string{"DEED_SEEDBUG=inbox"},
	}
	const seeds = 4
	for config.Seed = range uint64(seeds) {
		config.URL = s.URL(s.Database(t)) // a run wants a database of its own
		config.Effects = config.URL
		for _, check := range tortured(t, config).Broken() {
			if check == "lost" || check == "skip" {
				return
			}
		}
	}
	t.Errorf("%d runs did not see that the note commits before the effect does", seeds)
}
