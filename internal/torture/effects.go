package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/deedgo/deed/sqldb"
)

// The consumers' database. There is no unique index on event_id, on purpose: what
// keeps a second effect out must be the inbox, and a duplicate must be seen. Of two
// events of a key the second is inserted when the first has committed.
const effectsSchema = `
CREATE TABLE applied (
	seq       %[1]s,
	event_id  varchar(100) NOT NULL,
	event_key varchar(100) NOT NULL,
	kv        bigint       NOT NULL,
	crc       bigint       NOT NULL,
	proc      varchar(100) NOT NULL,
	wall      bigint       NOT NULL
);
CREATE TABLE replayed (
	seq       %[1]s,
	event_id  varchar(100) NOT NULL,
	event_key varchar(100) NOT NULL,
	kv        bigint       NOT NULL,
	crc       bigint       NOT NULL,
	proc      varchar(100) NOT NULL,
	run       bigint       NOT NULL,
	replay    int          NOT NULL
);
CREATE TABLE accounts (
	event_key varchar(100) PRIMARY KEY,
	last_kv   bigint NOT NULL,
	total     bigint NOT NULL
);
CREATE TABLE ledger (
	event_key varchar(100) PRIMARY KEY,
	last_kv   bigint NOT NULL,
	events    bigint NOT NULL,
	total     bigint NOT NULL
)`

var counted = map[sqldb.Dialect]string{
	sqldb.DialectSQLite:   "integer PRIMARY KEY AUTOINCREMENT",
	sqldb.DialectPostgres: "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	sqldb.DialectMySQL:    "bigint AUTO_INCREMENT PRIMARY KEY",
}

// openEffects opens the consumers' database: that of a URL of Postgres, of MySQL's
// driver behind "mysql:", or else a SQLite file.
func openEffects(at string) (*sqldb.DB, error) {
	if dsn, ok := strings.CutPrefix(at, "mysql:"); ok {
		db, err := sql.Open("mysql", dsn)
		return sqldb.MySQL(db), err
	}
	if strings.HasPrefix(at, "postgres:") {
		db, err := sql.Open("pgx", at)
		return sqldb.Postgres(db), err
	}
	db, err := sqldb.OpenSQLite(at, nil)
	if err != nil {
		return nil, err
	}
	return sqldb.SQLite(db), nil
}

func closeEffects(db *sqldb.DB) error { return errors.Join(db.Close(), db.SQL().Close()) }

// openBooks opens what a role writes to beside the bus: its record, and the consumers'
// database. It is done with both when it calls done.
func openBooks(job Job) (rec *Recorder, db *sqldb.DB, done func(), err error) {
	if rec, err = NewRecorder(job.Dir, job.proc()); err != nil {
		return nil, nil, nil, err
	}
	if db, err = openEffects(job.Effects); err != nil {
		return nil, nil, nil, errors.Join(err, rec.Close())
	}
	return rec, db, func() { closeEffects(db); rec.Close() }, nil
}

// createEffects makes the database before the first consumer starts.
func createEffects(at string) error {
	db, err := openEffects(at)
	if err != nil {
		return err
	}
	defer closeEffects(db)
	for _, table := range strings.Split(fmt.Sprintf(effectsSchema, counted[db.Dialect()]), ";") {
		if _, err := db.SQL().Exec(table); err != nil {
			return fmt.Errorf("effects database: %w", err)
		}
	}
	for n := range accounts {
		_, err := db.SQL().Exec(db.Rebind("INSERT INTO accounts (event_key, last_kv, total) VALUES (?, 0, 0)"), accountKey(n))
		if err != nil {
			return fmt.Errorf("effects database: %w", err)
		}
	}
	return nil
}

// readEffects returns what handlers wrote: Effect operations whose time is their
// order of commit, Ledger and Account operations.
func readEffects(ctx context.Context, at string) ([]Op, error) {
	effects, err := openEffects(at)
	if err != nil {
		return nil, err
	}
	defer closeEffects(effects)
	db := effects.SQL()
	applied, err := readRows(ctx, db, Op{Do: Effect, Group: Effects},
		"SELECT seq, event_id, event_key, kv, crc, 0, proc, 0, 0 FROM applied ORDER BY seq")
	if err != nil {
		return nil, err
	}
	replayed, err := readRows(ctx, db, Op{Do: Effect, Group: Replay},
		"SELECT seq, event_id, event_key, kv, crc, 0, proc, run, replay FROM replayed ORDER BY seq")
	if err != nil {
		return nil, err
	}
	ledger, err := readRows(ctx, db, Op{Do: Ledger},
		"SELECT 0, '', event_key, last_kv, total, events, '', 0, 0 FROM ledger ORDER BY event_key")
	if err != nil {
		return nil, err
	}
	accounts, err := readRows(ctx, db, Op{Do: Account},
		"SELECT 0, '', event_key, last_kv, total, 0, '', 0, 0 FROM accounts ORDER BY event_key")
	return slices.Concat(applied, replayed, ledger, accounts), err
}

func readRows(ctx context.Context, db *sql.DB, op Op, query string) ([]Op, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ops []Op
	for rows.Next() {
		if err := rows.Scan(&op.Time, &op.ID, &op.Key, &op.KV, &op.Sum, &op.N, &op.Proc, &op.Run, &op.Replay); err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, rows.Err()
}
