package deedsql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// What follows runs in transactions of the service, on its own connection, when the
// service's database is the engine's. A handler's transaction adds a row to deed_handled
// for its event; the low watermark removes it when it passes, unless the event is in the
// side log, from where it may come again.

// Hosts implements [driver.Joint].
func (c *Conn) Hosts(ctx context.Context, db *sql.DB, dialect string) (bool, error) {
	if c.writer == nil || c.dialect.features().Engine != dialect {
		return false, nil
	}
	same, err := c.dialect.hosts(ctx, db)
	if same && err == nil && c.dialect.shared() { // in a file there are no users
		same, err = c.writable(ctx, db)
	}
	if err != nil {
		err = fmt.Errorf("deedsql: compare databases: %w", err)
	}
	return same, err
}

// Statements that take the rights which settling and publishing do, and change nothing.
var jointRights = []string{
	"SELECT t.id FROM deed_topic t JOIN deed_group g ON g.topic_id = t.id WHERE t.id < 0",
	"SELECT epoch FROM deed_claim WHERE group_id < 0" + forShare,
	"INSERT INTO deed_handled (group_id, partition, position, run) " +
		"SELECT group_id, partition, position, run FROM deed_handled WHERE group_id < 0",
	"INSERT INTO deed_intake (topic_id, partition, key, id, source, type, version) " +
		"SELECT id, 0, '', '', '', '', 0 FROM deed_topic WHERE id < 0",
}

// writable reports whether the user of db has the rights to settle events and to add some. A user of its
// own for the service, which sees nothing of the engine, is as if the database was another.
func (c *Conn) writable(ctx context.Context, db *sql.DB) (bool, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	for _, query := range jointRights {
		if _, err := tx.ExecContext(ctx, c.dialect.sql(query)); err != nil {
			if sqldb.PostgresState(err) == pgDenied || sqldb.MySQLNumber(err) == errTableDenied {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// joint is a service's transaction.
type joint struct {
	ctx     context.Context
	tx      *sql.Tx
	dialect dialect
}

// handled is an event under a claim.
type handled struct {
	at    int64
	run   int
	index int // among those of the call
}

// holding is a claim with some of its events.
type holding struct {
	claim  driver.Claim
	events []handled
}

// holdings puts together the events of each claim. Claims come in the order in which all
// transactions lock them.
func holdings(es []driver.Handled) ([]*holding, error) {
	var hs []*holding
	for i, e := range es {
		at, err := parsePosition(e.Position)
		if err == nil && at == 0 {
			err = fmt.Errorf("%w: an event without position", driver.ErrRefused)
		}
		if err != nil {
			return nil, err
		}
		k := slices.IndexFunc(hs, func(h *holding) bool {
			return h.claim.Group == e.Claim.Group && h.claim.Topic == e.Claim.Topic && h.claim.Partition == e.Claim.Partition &&
				h.claim.Epoch == e.Claim.Epoch
		})
		if k < 0 {
			k = len(hs)
			hs = append(hs, &holding{claim: e.Claim})
		}
		hs[k].events = append(hs[k].events, handled{at, e.Run, i})
	}
	slices.SortFunc(hs, func(a, b *holding) int {
		return cmp.Or(cmp.Compare(a.claim.Group, b.claim.Group), cmp.Compare(a.claim.Topic, b.claim.Topic),
			cmp.Compare(a.claim.Partition, b.claim.Partition))
	})
	return hs, nil
}

// HandledIn implements [driver.Joint].
func (c *Conn) HandledIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) ([]bool, error) {
	before := make([]bool, len(es))
	hs, err := holdings(es)
	for _, h := range hs {
		var group int64
		if group, err = (joint{ctx, tx, c.dialect}).look(h, before); err != nil {
			break
		}
		c.joined.Store(group, true)
	}
	if err != nil {
		return nil, fmt.Errorf("deedsql: look for what is handled: %w", err)
	}
	return before, nil
}

const selectHandled = "SELECT c.group_id, c.epoch, c.seat, coalesce(h.position, 0), coalesce(h.run, 0) " +
	"FROM deed_topic p JOIN deed_group g ON g.topic_id = p.id JOIN deed_claim c ON c.group_id = g.id " +
	"LEFT JOIN deed_handled h ON h.group_id = c.group_id AND h.partition = c.partition " +
	"AND h.position >= ? AND h.position <= ? WHERE p.name = ? AND g.name = ? AND c.partition = ?"

// look finds which of a claim's events are handled, and its group.
func (j joint) look(h *holding, before []bool) (group int64, err error) {
	first, last := h.events[0].at, h.events[0].at
	for _, e := range h.events {
		first, last = min(first, e.at), max(last, e.at)
	}
	rows, err := j.tx.QueryContext(j.ctx, j.dialect.sql(selectHandled),
		first, last, h.claim.Topic, h.claim.Group, h.claim.Partition)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	epoch, seat := int64(0), ""
	for rows.Next() {
		var found handled
		if err := rows.Scan(&group, &epoch, &seat, &found.at, &found.run); err != nil {
			return 0, err
		}
		for _, e := range h.events {
			before[e.index] = before[e.index] || e.at == found.at && e.run == found.run
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if epoch != h.claim.Epoch || seat == "" {
		return 0, fenced(h.claim)
	}
	return group, nil
}

// SettleIn implements [driver.Joint].
func (c *Conn) SettleIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) error {
	hs, err := holdings(es)
	for _, h := range hs {
		if err = (joint{ctx, tx, c.dialect}).settle(h); err != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("deedsql: settle in the handler's transaction: %w", err)
	}
	return nil
}

// holdQuery keeps a claim from moving. Settling a position in the meantime is no move.
const holdQuery = "SELECT group_id FROM deed_claim WHERE partition = ? AND epoch = ? AND seat <> '' AND group_id = " +
	"(SELECT g.id FROM deed_group g JOIN deed_topic p ON p.id = g.topic_id WHERE p.name = ? AND g.name = ?)" + forShare

// handledRows is how many rows one statement adds.
const handledRows = 100

// settle adds the rows of a claim's events.
func (j joint) settle(h *holding) error {
	var group int64
	err := j.tx.QueryRowContext(j.ctx, j.dialect.sql(holdQuery),
		h.claim.Partition, h.claim.Epoch, h.claim.Topic, h.claim.Group).Scan(&group)
	if errors.Is(err, sql.ErrNoRows) {
		return fenced(h.claim)
	}
	if err != nil {
		return err
	}
	for some := range slices.Chunk(h.events, handledRows) {
		var args []any
		for _, e := range some {
			args = append(args, group, h.claim.Partition, e.at, e.run)
		}
		query := "INSERT INTO deed_handled (group_id, partition, position, run) VALUES " + tuples(len(some), 4)
		if _, err := j.tx.ExecContext(j.ctx, j.dialect.sql(query), args...); err != nil {
			return err
		}
	}
	return nil
}

func fenced(c driver.Claim) error {
	return fmt.Errorf("%w: group %s on topic %s partition %d is no longer at epoch %d",
		driver.ErrFenced, c.Group, c.Topic, c.Partition, c.Epoch)
}

// forgetHandled removes the rows that nobody will ask for: at or below the claim's
// position, and not in the side log.
func (c *Conn) forgetHandled(t *tx, group int64, partition int) error {
	if _, joined := c.joined.Load(group); !joined {
		return nil // no handler settles in its transaction
	}
	_, err := t.exec("DELETE FROM deed_handled WHERE group_id = ? AND partition = ? AND position <= "+
		"(SELECT position FROM deed_claim WHERE group_id = ? AND partition = ?) AND NOT EXISTS "+
		"(SELECT 1 FROM deed_letter WHERE deed_letter.group_id = deed_handled.group_id AND "+
		"deed_letter.partition = deed_handled.partition AND deed_letter.position = deed_handled.position)",
		group, partition, group, partition)
	return err
}
