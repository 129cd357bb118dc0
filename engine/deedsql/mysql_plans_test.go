package deedsql

import (
	"database/sql"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/mariatest"
)

// TestMySQLPlans asks for the plan of every query that work with one event, parked keys,
// retention and sweeping have used: none goes through a whole table that grows.
func TestMySQLPlans(t *testing.T) {
	t.Parallel()
	c := openURL(t, mariatest.Open(t))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	cl := receive(t, subscribe(t, c, "orders", "g", time.Hour)).Granted[0]
	fillMySQL(t, c)
	parked := driver.Parked{}
	parked.State, parked.Position, parked.Key = driver.Behind, "1", "k"
	steps := []error{
		c.Park(t.Context(), cl, []driver.Parked{parked}),
		c.SetMarks(t.Context(), cl, []driver.Mark{{Position: "2", Crashes: 1}}),
	}
	note := func(_ any, err error) { steps = append(steps, err) }
	note(c.Due(t.Context(), cl, 1))
	note(c.Chain(t.Context(), cl, "k", 1))
	note(c.ParkedKeys(t.Context(), cl, 1))
	note(c.Marks(t.Context(), cl))
	note(c.Unpark(t.Context(), cl, []string{"1"}))
	note(c.Lag(t.Context(), "g", "orders"))
	note(c.List(t.Context(), driver.LetterFilter{Group: "g", Topic: "orders", States: []driver.LetterState{driver.Dead}}))
	note(c.Redrive(t.Context(), []int64{1}))
	note(c.Discard(t.Context(), []int64{1}))
	note(c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 1}))
	note(c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 1, Backward: true}))
	note(nil, c.DeleteTopic(t.Context(), "old"))
	for _, err := range append(steps, administer(t, c)...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	const analyze = "ANALYZE TABLE deed_log, deed_letter, deed_mark, deed_producer, deed_window, deed_due"
	if _, err := c.db.Exec(analyze); err != nil {
		t.Fatal(err)
	}
	d := c.dialect.(*mysqlDialect)
	d.said.mu.RLock()
	queries := slices.Sorted(maps.Values(d.said.said))
	d.said.mu.RUnlock()
	explained := 0
	for _, query := range queries {
		if verb, _, _ := strings.Cut(query, " "); verb != "SELECT" && verb != "UPDATE" && verb != "DELETE" {
			continue
		}
		explained++
		for _, step := range planMySQL(t, c, query) {
			if step.through() {
				t.Errorf("%s\n\tgoes through %s: %+v", query, step.table, step)
			}
		}
	}
	if step := planMySQL(t, c, "SELECT reason FROM deed_letter WHERE attempts = ?")[0]; !step.through() {
		t.Errorf("a plan that goes through a whole table is not noticed: %+v", step)
	}
	if explained < 40 {
		t.Errorf("only %d queries were explained", explained)
	}
}

// fillMySQL adds rows of others to the tables that grow.
func fillMySQL(t *testing.T, c *Conn) {
	t.Helper()
	topicOf(t, c, "old", driver.TopicSettings{Partitions: 1})
	const rows = "FROM seq_1_to_5000"
	for _, query := range []string{
		"INSERT INTO deed_log SELECT 90 + seq % 10, 0, seq, 1, seq, '[]', 'x' " + rows,
		"INSERT INTO deed_producer SELECT concat('p', seq), 90 + seq % 10, 0, 1, unix_timestamp() * 1000000000 " + rows,
		"INSERT INTO deed_window SELECT 90 + seq % 10, 1, 's', seq, 1 " + rows,
		"INSERT INTO deed_mark SELECT 90 + seq % 10, 0, seq, 1, 1 " + rows,
		"INSERT INTO deed_due (topic_id, due, partition, accepted_at, meta) SELECT 90 + seq % 10, seq, 0, 1, '[]' " + rows,
		"INSERT INTO deed_letter (group_id, partition, position, run, key, state, aside, due, attempts, crashes, reason, " +
			"error, stack, failed_at, replay, stored_at, id, source, type, version) SELECT 90 + seq % 10, 0, seq, 0, " +
			"seq % 7, elt(1 + seq % 4, 'waiting', 'behind', 'dead', 'redriven'), 0, seq, 1, 0, '', '', '', 1, 0, 1, seq, " +
			"'s', 't', 1 " + rows,
	} {
		if _, err := c.db.Exec(mysqlSQL(query)); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// mysqlStep is a row of EXPLAIN.
type mysqlStep struct {
	table, kind string
	rows        int
}

var largeTables = regexp.MustCompile(`^(deed_(letter|log|mark|producer|window|due)|[lewdt])$`)

// through reports whether the step goes through a whole table that grows.
func (s mysqlStep) through() bool {
	return largeTables.MatchString(s.table) && (s.kind == "ALL" || s.kind == "index") && s.rows > 1000
}

func planMySQL(t *testing.T, c *Conn, query string) (steps []mysqlStep) {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = 1
	}
	rows, err := c.db.Query("EXPLAIN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		dest := make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		value := func(name string) string { return values[slices.Index(names, name)].String }
		step := mysqlStep{table: value("table"), kind: value("type")}
		fmt.Sscan(value("rows"), &step.rows) //nolint:errcheck // 0 where there is none
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}
