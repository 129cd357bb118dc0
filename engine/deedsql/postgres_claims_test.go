package deedsql

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestClaimsRowMoves settles again and again while the claim's row is moved by others, by
// transactions that do not commit, and by whoever takes the claim over: only the last loses
// it.
func TestClaimsRowMoves(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	publish(t, c, "orders", 0, 9)
	s := subscribe(t, c, "orders", "g", time.Minute)
	r := receive(t, s)
	if len(r.Granted) != 1 {
		t.Fatalf("granted %v", r.Granted)
	}
	settle := func(position string) []int {
		t.Helper()
		lost, err := s.Settle(t.Context(), []driver.Settlement{{Epoch: r.Granted[0].Epoch, Position: position}})
		if err != nil {
			t.Fatal(err)
		}
		return lost
	}
	move := func(query string) {
		t.Helper()
		if _, err := c.db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	spoil := errors.New("rolled back on purpose")
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"nothing", func() {}},
		{"an update by others", func() { move("UPDATE deed_claim SET rate = 7") }},
		{"a vacuum that packs the table", func() { move("VACUUM FULL deed_claim") }},
		{"a rollback", func() {
			err := c.write(t.Context(), 0, func(tx *tx) error {
				_, err := tx.settle(s.(*subscription).group, s.(*subscription).seat.Name(), 9,
					driver.Settlement{Epoch: r.Granted[0].Epoch})
				return errors.Join(err, spoil)
			})
			if !errors.Is(err, spoil) {
				t.Errorf("a job that fails: %v", err)
			}
		}},
	} {
		step.do()
		if lost := settle("5"); len(lost) > 0 {
			t.Errorf("after %s the claim is lost", step.what)
		}
		if lags, err := c.Lag(t.Context(), "g", "orders"); err != nil || lags[0].Position != "5" {
			t.Errorf("after %s the position is %v, %v", step.what, lags, err)
		}
	}
	move("UPDATE deed_claim SET epoch = epoch + 1")
	if lost := settle("6"); len(lost) != 1 {
		t.Error("a claim of an older epoch still holds")
	}
}

// TestPlanOfSettle reads the plan of a settlement whose row was settled before: it goes
// there, past no dead versions.
func TestPlanOfSettle(t *testing.T) {
	t.Parallel()
	c := openURL(t, pgtest.Open(t))
	rows, err := c.db.Query("EXPLAIN UPDATE deed_claim SET position = 1 " +
		"WHERE group_id = 1 AND partition = 1 AND epoch = 1 AND seat = 'a' AND ctid = '(0,1)'::tid RETURNING ctid::text")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil || !strings.Contains(plan.String(), "Tid Scan on deed_claim") {
		t.Errorf("the plan is %v\n%s", err, &plan)
	}
}
