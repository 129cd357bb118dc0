package deedsql

import (
	sqldriver "database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/pgtest"
)

// TestPostgresPlans has a log of which the server knows nothing, as it is until autovacuum
// comes by: what is read again and again reads no more than it needs, whatever plan is
// kept, and does so still when the server knows the table.
func TestPostgresPlans(t *testing.T) {
	t.Parallel()
	s := pgtest.Start(t, "autovacuum = off", "plan_cache_mode = force_generic_plan")
	c := openURL(t, s.URL(s.Database(t)))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 16})
	for p := range 16 {
		publish(t, c, "orders", p, 8)
	}
	const copies = 160 // of the events of each partition
	_, err := c.db.Exec(fmt.Sprintf("INSERT INTO deed_log SELECT l.topic_id, l.partition, l.position + 8 * g, l.stored_at, "+
		"l.bytes + g * (SELECT max(bytes) FROM deed_log), l.meta, l.data FROM deed_log l, generate_series(1, %d) g", copies))
	if err != nil {
		t.Fatal(err)
	}
	var topic int64
	if err := c.db.QueryRow("SELECT id FROM deed_topic").Scan(&topic); err != nil {
		t.Fatal(err)
	}
	type read struct {
		what, query string
		args        []sqldriver.Value
	}
	var reads []read
	for _, at := range []int64{10, 4 * copies, 8*copies - 20} {
		for _, backward := range []bool{false, true} {
			query, args := c.dialect.tables().read(&logQuery{
				topic: topic, partition: 2, at: at, limit: pageEvents, room: 1 << 20, backward: backward,
			})
			reads = append(reads, read{fmt.Sprintf("a page at %d, backward %v", at, backward), query, args})
		}
	}
	reads = append(reads, read{"the ends", "SELECT partition, position, removed FROM deed_head WHERE topic_id = ?",
		[]sqldriver.Value{topic}})
	for _, known := range []bool{false, true} {
		if known {
			if _, err := c.db.Exec("ANALYZE"); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range reads {
			const most = 60 // of thousands that the wrong plan reads
			if blocks := blocksRead(t, c, r.query, r.args); blocks > most {
				t.Errorf("%s reads %d blocks (want at most %d), the table is known: %v", r.what, blocks, most, known)
			}
		}
	}
}

// blocksRead returns how many blocks a query looks at.
func blocksRead(t *testing.T, c *Conn, query string, args []sqldriver.Value) int {
	t.Helper()
	values := make([]string, len(args))
	types := make([]string, len(args))
	for i, arg := range args {
		values[i], types[i] = fmt.Sprint(arg), "bigint"
	}
	conn, err := c.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), fmt.Sprintf("PREPARE q (%s) AS %s", strings.Join(types, ", "), c.dialect.sql(query)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.ExecContext(t.Context(), "DEALLOCATE q") //nolint:errcheck // the next PREPARE fails then
	var text []byte
	err = conn.QueryRowContext(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE q ("+
		strings.Join(values, ", ")+")").Scan(&text)
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err == nil {
		err = json.Unmarshal(text, &plans)
	}
	if err != nil || len(plans) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}
