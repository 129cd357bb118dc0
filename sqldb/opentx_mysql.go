package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// mysqlOpen asks for the transactions of the server. Which tables each has written to is
// told by MySQL alone; the rows that others wait for are told in two ways.
const mysqlOpen = `select t.trx_mysql_thread_id, coalesce(p.user, ''),
	if(p.command = 'Sleep', 'idle in transaction', coalesce(p.command, '')),
	timestampdiff(microsecond, t.trx_started, now(6)) / 1e6,
	row_number() over (order by t.trx_started, t.trx_mysql_thread_id) = 1,
	${tables}, '', coalesce(w.held, ''), coalesce(w.waiting, 0), t.trx_state = 'LOCK WAIT'
from information_schema.innodb_trx t
left join information_schema.processlist p on p.id = t.trx_mysql_thread_id
left join (${waits}) w on w.trx = t.trx_id
where t.trx_mysql_thread_id not in (0, connection_id()) order by t.trx_started, t.trx_mysql_thread_id`

var (
	openMariaDB = strings.NewReplacer(
		"${tables}", "if(t.trx_rows_modified > 0, '"+anyTable+"', '')",
		"${waits}", "select b.blocking_trx_id as trx, count(distinct b.requesting_trx_id) as waiting, "+
			"group_concat(distinct concat(substring_index(replace(l.lock_table, '`', ''), '.', -1), ' ', "+
			"coalesce(l.lock_data, '')) separator '\n') as held from information_schema.innodb_lock_waits b "+
			"join information_schema.innodb_locks l on l.lock_id = b.blocking_lock_id "+
			"where replace(l.lock_table, '`', '') like concat(database(), '.deed\\_%') group by 1").Replace(mysqlOpen)
	openMySQL = strings.NewReplacer(
		"${tables}", "coalesce((select group_concat(distinct m.object_name separator ' ') from "+
			"performance_schema.metadata_locks m join performance_schema.threads h on h.thread_id = m.owner_thread_id "+
			"where h.processlist_id = t.trx_mysql_thread_id and m.object_schema = database() "+
			"and m.object_name like 'deed\\_%' and m.lock_type = 'SHARED_WRITE'), '')",
		"${waits}", "select b.blocking_engine_transaction_id as trx, "+
			"count(distinct b.requesting_engine_transaction_id) as waiting, "+
			"group_concat(distinct concat(l.object_name, ' ', coalesce(l.lock_data, '')) separator '\n') as held "+
			"from performance_schema.data_lock_waits b "+
			"join performance_schema.data_locks l on l.engine_lock_id = b.blocking_engine_lock_id "+
			"where l.object_schema = database() and l.object_name like 'deed\\_%' group by 1").Replace(mysqlOpen)
)

// anyTable stands for the tables of a transaction that has written to some.
const anyTable = "?"

func mysqlOpenTxs(ctx context.Context, db *sql.DB) ([]OpenTx, error) {
	var version string
	if err := db.QueryRowContext(ctx, "select version()").Scan(&version); err != nil {
		return nil, err
	}
	if !strings.Contains(version, "MariaDB") {
		return openTxs(ctx, db, openMySQL)
	}
	all, err := openTxs(ctx, db, openMariaDB)
	if err != nil {
		return nil, err
	}
	wrote := func(t OpenTx) bool { return len(t.Tables) > 0 }
	var maybe []string
	if slices.ContainsFunc(all, wrote) {
		if maybe, err = uncommittedOutbox(ctx, db); err != nil {
			return nil, err
		}
	}
	for i := range all {
		if wrote(all[i]) {
			all[i].Tables = maybe
		}
	}
	return all, nil
}

// uncommittedOutbox returns the name of the outbox's table if rows are in it that are not
// committed. Whose they are MariaDB does not tell.
func uncommittedOutbox(ctx context.Context, db *sql.DB) ([]string, error) {
	const query = "select count(*) from deed_outbox where state = 'new'"
	var seen [2]int
	for i, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelReadUncommitted} {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		err = tx.QueryRowContext(ctx, query).Scan(&seen[i])
		tx.Rollback() //nolint:errcheck // it has written nothing
		if IsNoTable(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if seen[1] > seen[0] {
		return []string{"deed_outbox"}, nil
	}
	return nil, nil
}
