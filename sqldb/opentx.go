package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// OpenTx is a transaction that a session of the server has open.
type OpenTx struct {
	PID     int64  // the server's process, on MySQL its thread
	Name    string // what the session calls itself, on MySQL its user
	State   string // what it is doing: "idle in transaction"
	Age     time.Duration
	Oldest  bool     // the first of those that keep removed rows on the disk
	Tables  []string // of deed, that it may have written to
	Locks   []int64  // advisory locks that it holds, see [PostgresLock]
	Rows    []string // on MySQL: rows of deed's that others wait for, "deed_head 5, 0"
	Waiting int      // transactions on deed's tables and locks that wait for it
	Waits   bool     // itself, for another one
}

// openFor is how old a transaction is that [DB.OpenTxs] tells of.
const openFor = time.Second

// OpenTxs returns the transactions of others in this database that have been open for a
// second or longer, the oldest first. A role sees its own, and all when it has the right
// pg_read_all_stats; MySQL wants PROCESS. An SQLite file has no server to ask: it is
// errors.ErrUnsupported.
func (db *DB) OpenTxs(ctx context.Context) ([]OpenTx, error) {
	switch db.dialect {
	case DialectPostgres:
		return openTxs(ctx, db.sql, postgresOpen)
	case DialectMySQL:
		return mysqlOpenTxs(ctx, db.sql)
	}
	return nil, fmt.Errorf("sqldb: open transactions of a file: %w", errors.ErrUnsupported)
}

// Lists come as text, since drivers have no common way for arrays.
const postgresOpen = `with
	l as materialized (select l.*, coalesce(c.relname::text, '') as name from pg_locks l
		left join pg_class c on c.oid = l.relation and l.locktype = 'relation' and c.relname like 'deed\_%'
			and c.relkind in ('r', 'p')),
	w as materialized (select pid, pg_blocking_pids(pid) as others from l where not granted and exists (
		select from l d where d.pid = l.pid and (d.name <> '' or d.locktype = 'advisory' and not d.granted)) group by pid),
	a as (select a.*, coalesce(greatest(age(a.backend_xid), age(a.backend_xmin)), -1) as held from pg_stat_activity a
		where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
			and (a.xact_start is not null or exists (select from w where a.pid = any (w.others))))
select a.pid, coalesce(a.application_name, ''), coalesce(a.state, ''),
	coalesce(extract(epoch from clock_timestamp() - a.xact_start), -1)::float8,
	a.held >= 0 and row_number() over (order by a.held desc, a.xact_start, a.pid) = 1,
	coalesce((select string_agg(distinct l.name, ' ') from l where l.pid = a.pid and l.granted and l.name <> ''
		and l.mode not in ('AccessShareLock', 'RowShareLock')), ''),
	coalesce((select string_agg(((l.classid::bigint << 32) | l.objid::bigint)::text, ' ') from l
		where l.pid = a.pid and l.granted and l.locktype = 'advisory' and l.objsubid = 1), ''),
	'', (select count(*) from w where a.pid = any (w.others)),
	exists (select from l where l.pid = a.pid and not l.granted)
from a order by a.xact_start, a.pid`

// openTxs runs a query of transactions. An age below 0 is not told to this role: such a
// transaction counts when somebody waits for it.
func openTxs(ctx context.Context, db *sql.DB, query string) (all []OpenTx, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t OpenTx
		var seconds float64
		var tables, locks, held string
		err := rows.Scan(&t.PID, &t.Name, &t.State, &seconds, &t.Oldest, &tables, &locks, &held, &t.Waiting, &t.Waits)
		if err != nil {
			return nil, err
		}
		t.Age, t.Tables = time.Duration(max(seconds, 0)*float64(time.Second)), strings.Fields(tables)
		for _, text := range strings.Fields(locks) {
			number, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, err
			}
			t.Locks = append(t.Locks, number)
		}
		if held != "" {
			t.Rows = strings.Split(held, "\n")
		}
		if t.Age >= openFor || seconds < 0 && t.Waiting > 0 {
			all = append(all, t)
		}
	}
	return all, rows.Err()
}
