package torture

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/deedgo/deed/sqldb"
)

// The consumers' database. There is no unique index on event_id, on purpose: what
// keeps a second effect out must be the inbox, and a duplicate must be seen.
const effectsSchema = `
CREATE TABLE IF NOT EXISTS applied (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT, -- in order of commit: there is one writer at a time
	event_id TEXT    NOT NULL,
	key      TEXT    NOT NULL,
	kv       INTEGER NOT NULL,
	crc      INTEGER NOT NULL,
	proc     TEXT    NOT NULL,
	wall     INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS replayed (
	seq      INTEGER PRIMARY KEY AUTOINCREMENT,
	event_id TEXT    NOT NULL,
	key      TEXT    NOT NULL,
	kv       INTEGER NOT NULL,
	crc      INTEGER NOT NULL,
	proc     TEXT    NOT NULL,
	run      INTEGER NOT NULL,
	replay   INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger (
	key     TEXT PRIMARY KEY,
	last_kv INTEGER NOT NULL,
	events  INTEGER NOT NULL,
	total   INTEGER NOT NULL
);`

func openEffects(dir string) (*sql.DB, error) {
	return sqldb.OpenSQLite(filepath.Join(dir, "effects.db"), nil)
}

// createEffects makes the database before the first consumer starts.
func createEffects(dir string) error {
	db, err := openEffects(dir)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(effectsSchema); err != nil {
		return fmt.Errorf("effects database: %w", err)
	}
	return nil
}

// readEffects returns what handlers wrote: Effect operations whose time is their
// order of commit, and Ledger operations.
func readEffects(ctx context.Context, dir string) ([]Op, error) {
	db, err := openEffects(dir)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	effects, err := readRows(ctx, db, Op{Do: Effect, Group: Effects},
		"SELECT seq, event_id, key, kv, crc, 0, proc, 0, 0 FROM applied ORDER BY seq")
	if err != nil {
		return nil, err
	}
	replayed, err := readRows(ctx, db, Op{Do: Effect, Group: Replay},
		"SELECT seq, event_id, key, kv, crc, 0, proc, run, replay FROM replayed ORDER BY seq")
	if err != nil {
		return nil, err
	}
	ledger, err := readRows(ctx, db, Op{Do: Ledger},
		"SELECT 0, '', key, last_kv, total, events, '', 0, 0 FROM ledger ORDER BY key")
	return slices.Concat(effects, replayed, ledger), err
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
