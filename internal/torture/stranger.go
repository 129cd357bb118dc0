package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/deedgo/deed/sqldb"
)

// stranger is another program on the same databases, with transactions that stay open: a
// snapshot and an uncommitted write beside the bus, and locks on rows that handlers want.
type stranger struct {
	bus, effects string // as openEffects takes them; bus is "" when it is no database, or the same
	open         []func() error
}

func (*stranger) Describe() string {
	return "transactions with a snapshot, an uncommitted write and locked rows of the consumers stay open"
}

// strangerTable is not deed's.
const strangerTable = "CREATE TABLE IF NOT EXISTS stranger (said varchar(20))"

// Start waits for a server that another fault has just ended.
func (s *stranger) Start(string) error {
	return patiently(context.Background(), func() error {
		err := s.begin(s.effects, "SELECT event_key FROM ledger WHERE event_key LIKE '%-k1'")
		if err == nil && s.bus != "" {
			err = s.begin(s.bus, "SELECT said FROM stranger")
		}
		if err != nil {
			s.Stop("") // one without the other
		}
		return err
	})
}

// begin opens a transaction that has read what the query finds, and locked it where
// others need not stop for that: on SQLite it has only read.
func (s *stranger) begin(at, query string) error {
	db, err := openEffects(at)
	if err != nil {
		return err
	}
	s.open = append(s.open, func() error { return closeEffects(db) })
	ctx := context.Background() // until Stop
	if _, err := db.SQL().ExecContext(ctx, strangerTable); err != nil {
		return err
	}
	isolation := sql.LevelRepeatableRead
	statements := []string{"INSERT INTO stranger (said) VALUES ('hello')", query + " FOR UPDATE"}
	if db.Dialect() == sqldb.DialectSQLite {
		isolation, statements = sql.LevelDefault, []string{query}
	}
	tx, err := db.SQL().BeginTx(ctx, &sql.TxOptions{Isolation: isolation, ReadOnly: len(statements) == 1})
	if err != nil {
		return err
	}
	s.open = append(s.open, tx.Rollback)
	for _, statement := range statements {
		rows, err := tx.QueryContext(ctx, statement)
		if err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		for rows.Next() {
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Stop rolls back. The server may have ended the transactions by now.
func (s *stranger) Stop(string) error {
	for len(s.open) > 0 {
		last := len(s.open) - 1
		s.open[last]()
		s.open = s.open[:last]
	}
	return nil
}

// StrangerFault keeps transactions of nobody in the run open for up to three leases, on
// the consumers' database and on that of the bus, where it is one.
func (c *Cluster) StrangerFault(weight int) Fault {
	lease := c.config.Lease
	s := &stranger{bus: effectsAt(c.config.URL), effects: c.config.Effects}
	if s.bus == s.effects {
		s.bus = ""
	}
	return Fault{
		Name: "open", Nemesis: s, Targets: []string{"stranger"},
		Weight: weight, Min: lease / 2, Max: 3 * lease,
	}
}

// effectsAt writes a bus's URL as openEffects wants it, "" when that is no database.
func effectsAt(bus string) string {
	if file, ok := strings.CutPrefix(bus, "sqlite:"); ok {
		return file
	}
	u, err := url.Parse(bus)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "postgres":
		return bus
	case u.Scheme == "mysql":
		return fmt.Sprintf("mysql:%s@tcp(%s)%s", u.User, u.Host, u.Path)
	}
	return ""
}
