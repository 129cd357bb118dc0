package deedsql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
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
func (c *Conn) writable(ctx context.Context, db *sql.DB) (may bool, err error) {
	for range retries {
		may, err = c.tryWritable(ctx, db)
		if who, _ := c.dialect.explain(err); err == nil || who != noJob || ctx.Err() != nil {
			break
		}
	}
	return may, err
}

// tryWritable locks no gaps, into which others may be about to insert.
func (c *Conn) tryWritable(ctx context.Context, db *sql.DB) (bool, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
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

// event is one of a claim.
type event struct {
	handled
	index int // among those of the call
}

// holding is a claim with some of its events.
type holding struct {
	claim  driver.Claim
	events []event
}

// holdings puts together the events of each claim. Claims come in the order in which all
// transactions lock them.
func holdings(es []driver.Handled) ([]*holding, error) {
	var hs []*holding
	for i, e := range es {
		at, err := driverkit.ParsePosition(e.Position)
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
		hs[k].events = append(hs[k].events, event{handled{at, e.Run}, i})
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
		if err = c.look(ctx, tx, h, before); err != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("deedsql: look for what is handled: %w", err)
	}
	return before, nil
}

const selectHandled = "SELECT c.group_id, c.epoch, c.seat, coalesce(h.position, 0), coalesce(h.run, 0) " +
	"FROM deed_topic p JOIN deed_group g ON g.topic_id = p.id JOIN deed_claim c ON c.group_id = g.id " +
	"LEFT JOIN deed_handled h ON h.group_id = c.group_id AND h.partition = c.partition " +
	"WHERE p.name = ? AND g.name = ? AND c.partition = ?"

// look finds which of a claim's events are handled, as a rule from what is known of it.
func (c *Conn) look(ctx context.Context, tx *sql.Tx, h *holding, before []bool) error {
	found, sure := c.joints.known(h)
	if !sure {
		var group int64
		var err error
		if group, found, err = c.readHandled(ctx, tx, h.claim); err != nil {
			return err
		}
		c.joints.add(h.claim, group, found)
	}
	for _, e := range h.events {
		before[e.index] = found[e.handled]
	}
	return nil
}

// readHandled returns all that is noted of a claim's partition.
func (c *Conn) readHandled(ctx context.Context, tx *sql.Tx, cl driver.Claim) (int64, map[handled]bool, error) {
	rows, err := tx.QueryContext(ctx, c.dialect.sql(selectHandled), cl.Topic, cl.Group, cl.Partition)
	if err != nil {
		return 0, nil, err
	}
	defer rows.Close()
	var group, epoch int64
	var seat string
	found := make(map[handled]bool)
	for rows.Next() {
		var e handled
		if err := rows.Scan(&group, &epoch, &seat, &e.at, &e.run); err != nil {
			return 0, nil, err
		}
		found[e] = true
	}
	if err := rows.Err(); err != nil {
		return 0, nil, err
	}
	if epoch != cl.Epoch || seat == "" {
		return 0, nil, fenced(cl)
	}
	return group, found, nil
}

// SettleIn implements [driver.Joint].
func (c *Conn) SettleIn(ctx context.Context, tx *sql.Tx, es []driver.Handled) error {
	hs, err := holdings(es)
	for _, h := range hs {
		if err = c.settleIn(ctx, tx, h); err != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("deedsql: settle in the handler's transaction: %w", err)
	}
	return nil
}

const (
	// settleFirst adds the row of an event and keeps the claim from moving. Settling a
	// position in the meantime is no move.
	settleFirst = "INSERT INTO deed_handled (group_id, partition, position, run) SELECT group_id, partition, ?, ? " +
		"FROM deed_claim WHERE group_id = ? AND partition = ? AND epoch = ? AND seat <> ''" + forShare
	handledRows = 100 // that one statement adds
)

// settleIn adds the rows of a claim's events.
func (c *Conn) settleIn(ctx context.Context, tx *sql.Tx, h *holding) error {
	group, ok := c.joints.try(h)
	if !ok { // as a rule HandledIn has met the claim
		at, found, err := c.readHandled(ctx, tx, h.claim)
		if err != nil {
			return err
		}
		c.joints.add(h.claim, at, found)
		if group, ok = c.joints.try(h); !ok {
			return fenced(h.claim) // a newer claim was met
		}
	}
	first := h.events[0]
	r, err := tx.ExecContext(ctx, c.dialect.sql(settleFirst), first.at, first.run, group, h.claim.Partition, h.claim.Epoch)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fenced(h.claim))
	}
	for some := range slices.Chunk(h.events[1:], handledRows) {
		var args []any
		for _, e := range some {
			args = append(args, group, h.claim.Partition, e.at, e.run)
		}
		query := "INSERT INTO deed_handled (group_id, partition, position, run) VALUES " + tuples(len(some), 4)
		if _, err := tx.ExecContext(ctx, c.dialect.sql(query), args...); err != nil {
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
	if !c.joints.of(group) {
		return nil // no handler settles in its transaction
	}
	_, err := t.exec("DELETE FROM deed_handled WHERE group_id = ? AND partition = ? AND position <= "+
		"(SELECT position FROM deed_claim WHERE group_id = ? AND partition = ?) AND NOT EXISTS "+
		"(SELECT 1 FROM deed_letter WHERE deed_letter.group_id = deed_handled.group_id AND "+
		"deed_letter.partition = deed_handled.partition AND deed_letter.position = deed_handled.position)",
		group, partition, group, partition)
	return err
}
