package outbox

import (
	"context"
	"fmt"
	"slices"

	"github.com/deedgo/deed/sqldb"
)

// Blockers returns the transactions of the outbox's database that have published here
// and have been open for a second or longer, the oldest first: their events wait for
// the commit, everybody else's do not. MariaDB does not tell who wrote what: there it
// returns every transaction that has written something, as long as any of them has
// published. On SQLite it is errors.ErrUnsupported.
func (o *Outbox) Blockers(ctx context.Context) ([]sqldb.Blocker, error) {
	if err := o.usable(); err != nil {
		return nil, err
	}
	open, err := o.db.OpenTxs(ctx)
	if err != nil {
		return nil, fmt.Errorf("outbox: open transactions: %w", err)
	}
	var all []sqldb.Blocker
	for _, t := range open {
		if slices.Contains(t.Tables, "deed_outbox") {
			all = append(all, sqldb.Blocker{
				What: sqldb.BlockedOutbox, PID: t.PID, Name: t.Name, State: t.State, Age: t.Age, Waiting: t.Waiting,
			})
		}
	}
	return all, nil
}
