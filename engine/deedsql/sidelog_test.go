package deedsql

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// TestManyParkedKeys parks 20,000 keys and looks how the queries that the run loop
// makes again and again are answered: from an index, and soon. TestPlans shows why
// it does not matter how many there are.
func TestManyParkedKeys(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	s := subscribe(t, c, "orders", "g", time.Hour)
	cl := receive(t, s).Granted[0]
	const keys, records = 20_000, 22_000
	err := c.write(t.Context(), 0, func(tx *tx) error {
		_, err := tx.exec(`WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < ?)
			INSERT INTO deed_letter (group_id, partition, position, run, key, state, aside, due, attempts, crashes, reason,
				error, stack, failed_at, replay, stored_at, id, source, type, version)
			SELECT 1, 0, n + 1, 0, 'key-' || (n % ?), iif(n < ?, 'waiting', 'behind'), 0,
				iif(n % 1000 = 0, 0, ?), 1, 0, '', '', '', 0, 0, 0, n, '/s', 't', 1 FROM k`,
			records-1, keys, keys, tx.now+int64(time.Hour))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Settle(t.Context(), []driver.Settlement{{Epoch: cl.Epoch, Position: itoa(records)}})
	if err != nil {
		t.Fatal(err)
	}
	soon := func(what string, call func() (int, error), want int) {
		t.Helper()
		start := time.Now()
		n, err := call()
		if took := time.Since(start); err != nil || n != want || took > patience {
			t.Errorf("%s: %d of %d after %v, %v", what, n, want, took, err)
		}
	}
	soon("due", func() (int, error) { ls, err := c.Due(t.Context(), cl, 1000); return len(ls), err }, keys/1000)
	soon("chain", func() (int, error) { ls, err := c.Chain(t.Context(), cl, "key-77", 10); return len(ls), err }, 2)
	soon("parked keys", func() (int, error) { ks, err := c.ParkedKeys(t.Context(), cl, 1001); return len(ks), err }, 1001)
	soon("unpark", func() (int, error) { _, err := c.Unpark(t.Context(), cl, []string{"78"}); return 1, err }, 1)
	soon("lag", func() (int, error) {
		lag, err := c.Lag(t.Context(), "g", "orders")
		return int(lag[0].Parked), err
	}, records-1)
}

// TestPlans reads SQLite's plans of the queries on the side log: none may go
// through all records.
func TestPlans(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	publish(t, c, "orders", 0, 1)
	cl := receive(t, subscribe(t, c, "orders", "g", time.Hour)).Granted[0]
	parked := driver.Parked{}
	parked.State, parked.Position, parked.Key = driver.Behind, "1", "k"
	steps := []error{
		c.Park(t.Context(), cl, []driver.Parked{parked}),
		c.SetMarks(t.Context(), cl, []driver.Mark{{Position: "2", Crashes: 1}}),
	}
	_, err := c.Due(t.Context(), cl, 1)
	steps = append(steps, err)
	_, err = c.Chain(t.Context(), cl, "k", 1)
	steps = append(steps, err)
	_, err = c.ParkedKeys(t.Context(), cl, 1)
	steps = append(steps, err)
	_, err = c.Marks(t.Context(), cl)
	steps = append(steps, err)
	_, err = c.Unpark(t.Context(), cl, []string{"1"})
	steps = append(steps, err)
	_, err = c.Lag(t.Context(), "g", "orders")
	steps = append(steps, err)
	steps = append(steps, administer(t, c)...)
	_, err = c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 1})
	for _, err := range append(steps, err) {
		if err != nil {
			t.Fatal(err)
		}
	}
	// Tables that stay small may be gone through, and aliases of large ones are l, e
	// and r.
	large := regexp.MustCompile(`^SCAN (deed_(letter|log|mark|producer|window|due|run|generation)|[ler])\b`)
	for _, query := range queries(c) {
		for _, step := range plan(t, c, query) {
			if large.MatchString(step) {
				t.Errorf("%s\n\tgoes through a whole table: %s", query, step)
			}
		}
	}
}

// TestPlansOfLists reads the plans of lists of letters: a page is read in order and
// sorts nothing, or going through 100,000 letters would sort them 500 times.
func TestPlansOfLists(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	dead := []driver.LetterState{driver.Dead}
	for name, f := range map[string]driver.LetterFilter{
		"all":     {},
		"group":   {Group: "g", States: dead},
		"topic":   {Topic: "orders", States: dead},
		"both":    {Group: "g", Topic: "orders", Type: "t", Key: "k", Since: time.Now()},
		"letters": {IDs: []int64{1, 2}, Group: "g"},
	} {
		query, _ := listLetters(f)
		for _, step := range plan(t, c, query) {
			if !strings.HasPrefix(step, "SEARCH") {
				t.Errorf("%s: the plan has the step %s", name, step)
			}
		}
	}
}

// queries returns what was prepared on a connection and has a plan.
func queries(c *Conn) []string {
	var all []string
	all = slices.AppendSeq(all, maps.Keys(c.read.cache))
	writes := c.dialect.(*sqliteDialect).writes
	all = slices.AppendSeq(all, maps.Keys(writes.statements.cache))
	all = slices.AppendSeq(all, maps.Keys(writes.stmts))
	for _, s := range c.sessions.idle {
		all = slices.AppendSeq(all, maps.Keys(s.stmts))
	}
	return slices.DeleteFunc(all, func(query string) bool {
		return !strings.HasPrefix(query, "SELECT") && !strings.HasPrefix(query, "UPDATE") &&
			!strings.HasPrefix(query, "DELETE") && !strings.Contains(query, "SELECT")
	})
}

// administer makes the queries of retention, delay, reset and edits.
func administer(t *testing.T, c *Conn) []error {
	t.Helper()
	delayed(t, c, "orders", 1, 1, func(int) time.Duration { return time.Millisecond })
	until(t, "the delayed event", func() bool { return info(t, c, "orders").Scheduled == 0 })
	_, sweeps := c.Sweep(t.Context(), "orders")
	settings := driver.TopicSettings{Partitions: 1, MaxBytes: 1, Keep: 1, Hold: 1}
	set := c.SetTopic(t.Context(), "orders", settings)
	_, held := c.Sweep(t.Context(), "orders")
	publish := func() error { _, err := c.Publish(t.Context(), events("orders", 1, 1)); return err }
	_, groups := c.Groups(t.Context())
	_, seek := c.Seek(t.Context(), "orders", 0, time.Now())
	return []error{sweeps, set, held, publish(), groups, seek,
		c.ResetGroup(t.Context(), "g", "orders", driver.Reset{Fence: true}),
		c.write(t.Context(), 0, sweep)}
}

func plan(t *testing.T, c *Conn, query string) (steps []string) {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = 1
	}
	rows, err := c.db.Query("EXPLAIN QUERY PLAN "+c.dialect.sql(query), args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// TestUnparkTakesTheEarlierRun keeps a reset's records behind those of before it.
func TestUnparkTakesTheEarlierRun(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1})
	cl := receive(t, subscribe(t, c, "orders", "g", time.Hour)).Granted[0]
	park := func(run int, position string, state driver.LetterState) {
		t.Helper()
		p := driver.Parked{}
		p.Run, p.Position, p.State, p.Key = run, position, state, "k"
		if err := c.Park(t.Context(), cl, []driver.Parked{p}); err != nil {
			t.Fatal(err)
		}
	}
	park(0, "7", driver.Waiting)
	cl.Run = 1
	park(1, "3", driver.Behind)
	park(1, "7", driver.Behind)
	for _, want := range []struct {
		position string
		empty    int
	}{{"7", 0}, {"3", 0}, {"7", 1}} {
		due, err := c.Due(t.Context(), cl, 10)
		if err != nil || len(due) != 1 || due[0].Position != want.position {
			t.Fatalf("due %+v, %v; want position %s", due, err, want.position)
		}
		empty, err := c.Unpark(t.Context(), cl, []string{want.position})
		if err != nil || len(empty) != want.empty {
			t.Fatalf("unpark %s: empty %v, %v", want.position, empty, err)
		}
	}
}
