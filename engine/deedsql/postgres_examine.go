package deedsql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/deedgo/deed/driver"
)

// Examine looks at the server of a URL and tells how it is set up and who is in the way
// of deed's writers. It finds nothing on SQLite, which has no server.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	if strings.HasPrefix(url, "sqlite:") {
		return nil, nil
	}
	if strings.HasPrefix(url, "mysql:") {
		return examineMySQL(ctx, url)
	}
	p, err := parsePostgres(url)
	if err != nil {
		return nil, err
	}
	d := &postgresDialect{where: fmt.Sprintf("%s:%d/%s", p.config.Host, p.config.Port, p.config.Database)}
	c, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		_, explained := d.explain(err)
		return nil, fmt.Errorf("deedsql: examine: %w", explained)
	}
	defer c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has nothing to lose
	var x []driver.Finding
	for _, look := range []func(context.Context, *pgx.Conn) ([]driver.Finding, error){
		postgresSettings, postgresWaiters, postgresSnapshots,
	} {
		some, err := look(ctx, c)
		if err != nil {
			_, explained := d.explain(err)
			return nil, fmt.Errorf("deedsql: examine: %w", explained)
		}
		x = append(x, some...)
	}
	return x, nil
}

// postgresSettings tells of what accepted events survive.
func postgresSettings(ctx context.Context, c *pgx.Conn) (x []driver.Finding, err error) {
	var version, fsync, commit, pages, where string
	err = c.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('fsync'), "+
		"current_setting('synchronous_commit'), current_setting('full_page_writes'), "+
		"CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END").Scan(&version, &fsync, &commit, &pages, &where)
	if err != nil {
		return nil, err
	}
	version, _, _ = strings.Cut(version, " ")
	x = append(x, driver.Finding{Result: driver.Good, What: "server", Value: "Postgres " + version + ", " + where})
	if where == "standby" {
		x[0].Result, x[0].Advice = driver.Wrong, "nothing can be stored on a standby; name the primary in the URL"
	}
	for _, s := range []struct{ name, value, loses string }{
		{"fsync", fsync, "accepted events do not survive a power cut"},
		{"full_page_writes", pages, "a power cut can damage the tables"},
		{"synchronous_commit", commit, "the last accepted events do not survive a crash of the server"},
	} {
		f := driver.Finding{Result: driver.Good, What: s.name, Value: s.value}
		if s.value == "off" {
			f.Result, f.Advice = driver.Noted, s.loses+"; set "+s.name+" = on"
		}
		x = append(x, f)
	}
	return x, nil
}

// postgresWaiters tells which server processes hold up writers, by their pid.
func postgresWaiters(ctx context.Context, c *pgx.Conn) (x []driver.Finding, err error) {
	rows, err := c.Query(ctx, "SELECT b.pid, coalesce(b.application_name, ''), coalesce(b.state, ''), count(*), "+
		"coalesce(extract(epoch FROM clock_timestamp() - b.xact_start), 0)::float8 "+
		"FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) p (pid) "+
		"JOIN pg_stat_activity b ON b.pid = p.pid WHERE w.datname = current_database() GROUP BY 1, 2, 3, 5 ORDER BY 5 DESC")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid, waiting int
		var name, state string
		var seconds float64
		if err := rows.Scan(&pid, &name, &state, &waiting, &seconds); err != nil {
			return nil, err
		}
		f := driver.Finding{Result: driver.Noted, What: "write lock", Value: fmt.Sprintf(
			"%d waiting for process %d (%s, %s) for %v", waiting, pid, name, state, roundSeconds(seconds))}
		if seconds > postgresStall.Seconds() {
			f.Result, f.Advice = driver.Wrong, fmt.Sprintf("let it end, or end it: SELECT pg_terminate_backend(%d)", pid)
		}
		x = append(x, f)
	}
	if x == nil {
		x = []driver.Finding{{Result: driver.Good, What: "write lock", Value: "nobody waits"}}
	}
	return x, rows.Err()
}

// oldSnapshot is from when on a transaction is worth a word: what is removed meanwhile
// stays on the disk.
const oldSnapshot = time.Minute

// postgresSnapshots tells of the oldest transaction, which holds back vacuum and nothing
// of deed's.
func postgresSnapshots(ctx context.Context, c *pgx.Conn) (x []driver.Finding, err error) {
	var pid int
	var name, state string
	var seconds float64
	err = c.QueryRow(ctx, "SELECT pid, coalesce(application_name, ''), coalesce(state, ''), "+
		"extract(epoch FROM clock_timestamp() - xact_start)::float8 FROM pg_stat_activity "+
		"WHERE xact_start IS NOT NULL AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1").
		Scan(&pid, &name, &state, &seconds)
	if err != nil {
		return nil, err // this query's own transaction is one
	}
	f := driver.Finding{Result: driver.Good, What: "oldest snapshot", Value: roundSeconds(seconds).String()}
	if seconds > oldSnapshot.Seconds() {
		f.Result = driver.Noted
		f.Value = fmt.Sprintf("%v, of process %d (%s, %s)", roundSeconds(seconds), pid, name, state)
		f.Advice = "events flow all the same; removed rows stay on the disk until it ends"
	}
	return []driver.Finding{f}, nil
}

func roundSeconds(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}
