//go:build unix

package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/internal/pgtest"
)

// TestLagNamesBlockers leaves a snapshot open: lag names its process, as text and as JSON.
func TestLagNamesBlockers(t *testing.T) {
	s := pgtest.Start(t) // where nobody else has transactions
	url := s.URL(s.Database(t))
	t.Setenv("DEED_URL", url)
	dir := t.TempDir()
	mustRun(t, dir, strings.NewReader("{}\n"), "pub", "apples")
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	tx, err := c.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM deed_topic").Scan(&n); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Blockers []struct {
			What    string
			PID     uint32
			Seconds float64
			State   string
		}
	}
	for deadline := time.Now().Add(time.Minute); len(doc.Blockers) == 0 && time.Now().Before(deadline); {
		r := finish(t, deedCmd(dir, nil, "lag", "-o", "json"))
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
			t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
		}
	}
	pid := c.PgConn().PID()
	if len(doc.Blockers) != 1 || doc.Blockers[0].What != "vacuum" || doc.Blockers[0].PID != pid ||
		doc.Blockers[0].Seconds < 1 || doc.Blockers[0].State != "idle in transaction" {
		t.Errorf("as JSON: %+v, want process %d", doc.Blockers, pid)
	}
	r := finish(t, deedCmd(dir, nil, "lag"))
	for _, want := range []string{"HELD BACK", "BY PID", "vacuum", fmt.Sprint(pid), "idle in transaction"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("lag does not say %q:\n%s", want, r.stdout)
		}
	}
}
