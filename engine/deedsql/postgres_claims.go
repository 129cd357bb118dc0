package deedsql

import (
	"database/sql"
	"errors"
	"sync"
)

// claimRows remembers where the rows of claims are. Each settlement leaves a dead version
// of its row behind, and while a snapshot is open, a backup's say, all of them are looked
// at by whoever goes by the key: after ten minutes a settlement took ten times as long.
type claimRows struct {
	mu    sync.Mutex
	tuple map[claimKey]string // the ctid of the last version that was written here
}

func (r *claimRows) get(key claimKey) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tuple[key]
}

func (r *claimRows) set(key claimKey, tuple string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tuple == nil || len(r.tuple) > knownProducers {
		r.tuple = make(map[claimKey]string)
	}
	r.tuple[key] = tuple
}

// updateClaim goes to the row where it was left. It is not there, or another one is, when
// somebody else has changed it or the transaction that wrote it did not commit; the query's
// own conditions see to that, and it is looked for by its key.
func (d *postgresDialect) updateClaim(t *tx, key claimKey, query string, args ...any) (int64, error) {
	var tuple string
	if last := d.claims.get(key); last != "" {
		err := t.row(query+" AND ctid = ?::tid RETURNING ctid::text", append(args[:len(args):len(args)], last), &tuple)
		if err == nil {
			d.claims.set(key, tuple)
			return 1, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
	}
	err := t.row(query+" RETURNING ctid::text", args, &tuple)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err == nil {
		d.claims.set(key, tuple)
	}
	return 1, err
}
