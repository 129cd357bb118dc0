package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/sqldb"
)

// stamp numbers the rows of one partition. The producer belongs to this run alone:
// a database that was copied or restored from a backup then stamps what is new with
// producers that no engine has seen, instead of numbers that it takes for repeats.
type stamp struct {
	producer string
	seq      int64 // of the last row
}

// newRow is a row on its way to be stamped.
type newRow struct {
	id int64
	at place
}

// stampBatch is how many rows are stamped in one transaction.
const stampBatch = 1024

// stamp gives new rows their partition, producer and sequence number, in the order
// of their ids, and commits that before anything is sent. It reports whether there
// are more.
func (r *relay) stamp(ctx context.Context, l lane) (more bool, err error) {
	returned, err := r.returned(ctx)
	if err != nil {
		return false, err
	}
	// The partition is asked for outside of the transaction: the bus may have to
	// create a topic, in this very database file even.
	rows, full, err := r.newRows(ctx, l)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	r.stamping.Lock()
	defer r.stamping.Unlock()
	now := time.Now().UnixMilli()
	var next map[place]*stamp
	err = r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		next, err = r.writeStamps(ctx, tx, rows, returned, now)
		return err
	})
	if errors.Is(err, errReturned) {
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		for _, row := range rows {
			delete(r.stamps, row.at) // the numbers may be in use or not
		}
		return false, fmt.Errorf("stamp rows: %w", err)
	}
	for at, s := range next {
		r.dirty[at] = true
		r.stamps[at] = s
	}
	return full, nil
}

// newRows returns the first rows without a stamp whose topic the lane is for, with
// their partitions, and whether there were as many as it asked for.
func (r *relay) newRows(ctx context.Context, l lane) (rows []newRow, full bool, err error) {
	names := r.troubledTopics(l)
	if l == slowLane && len(names) == 0 {
		return nil, false, nil
	}
	query, args := newRowsQuery(l, names)
	found, err := r.db.SQL().QueryContext(ctx, r.db.Rebind(query), args...)
	if err != nil {
		return nil, false, fmt.Errorf("read new rows: %w", err)
	}
	type candidate struct {
		id                        int64
		topic, settings, typ, key string
	}
	var cs []candidate
	for found.Next() {
		var c candidate
		if err = found.Scan(&c.id, &c.topic, &c.settings, &c.typ, &c.key); err != nil {
			break
		}
		cs = append(cs, c)
	}
	if err = errors.Join(err, found.Err(), found.Close()); err != nil {
		return nil, false, fmt.Errorf("read new rows: %w", err)
	}
	failed := make(map[string]bool)
	for _, c := range cs {
		if failed[c.topic] {
			continue
		}
		p, err := r.partition(ctx, r.topics.get(c.topic, c.settings), deed.Event{Type: c.typ, Key: c.key})
		switch {
		case err == nil:
			rows = append(rows, newRow{c.id, place{c.topic, p}})
		case errors.Is(err, driver.ErrClosed) || ctx.Err() != nil:
			return nil, false, err
		default:
			failed[c.topic] = true
			d := r.troubles.add(place{c.topic, noPartition}, nil)
			r.log.Warn("outbox: the topic's events wait", "topic", c.topic, "in", d, "error", err)
		}
	}
	for _, topic := range names {
		if l != mainLane && !failed[topic] {
			r.troubles.clear(place{topic, noPartition})
		}
	}
	return rows, len(cs) == stampBatch, nil
}

// troubledTopics returns the topics in trouble: all of them for the main lane, which
// passes over them, and those that may be tried again for the others.
func (r *relay) troubledTopics(l lane) []string {
	var names []string
	for _, p := range r.troubles.list() {
		if p.partition == noPartition && (l == mainLane || l.open(&r.troubles, p)) {
			names = append(names, p.topic)
		}
	}
	return names
}

func newRowsQuery(l lane, names []string) (string, []any) {
	query := "select id, topic, settings, event_type, event_key from deed_outbox where state = 'new' and not_before <= ?"
	args := []any{time.Now().UnixMilli()}
	if len(names) > 0 && l != allLanes {
		not := "not "
		if l == slowLane {
			not = ""
		}
		query += " and topic " + not + "in (?" + strings.Repeat(", ?", len(names)-1) + ")"
		for _, n := range names {
			args = append(args, n)
		}
	}
	if seeded("cursor") {
		query += " and id > (select coalesce(max(id), 0) from deed_outbox where state in ('stamped', 'sent'))"
	}
	return fmt.Sprintf("%s order by id limit %d", query, stampBatch), args
}

// writeStamps stamps those of rows that nobody else has stamped meanwhile, and
// returns the last stamp of each partition that got any.
func (r *relay) writeStamps(
	ctx context.Context, tx *sql.Tx, rows []newRow, returned, now int64,
) (map[place]*stamp, error) {
	rebind := r.db.Rebind
	var turn, latest int64
	if _, err := tx.ExecContext(ctx, rebind("update deed_outbox_turn set turn = turn + ?"), len(rows)); err != nil {
		return nil, err
	}
	err := tx.QueryRowContext(ctx, rebind("select turn, returned from deed_outbox_turn")).Scan(&turn, &latest)
	if err == nil && latest != returned {
		err = errReturned
	}
	if err != nil {
		return nil, err
	}
	turn -= int64(len(rows))
	if r.db.Dialect() == sqldb.DialectPostgres {
		return r.stampAtOnce(ctx, tx, rows, turn, now)
	}
	update, err := tx.PrepareContext(ctx, rebind("update deed_outbox set state = 'stamped', changed = ?, "+
		"partition_no = ?, producer = ?, seq = ?, turn = ? where id = ? and state = 'new'"))
	if err != nil {
		return nil, err
	}
	defer update.Close()
	next := make(map[place]*stamp)
	for _, row := range rows {
		s := next[row.at]
		if s == nil {
			s = r.lastStamp(row.at)
		}
		turn++
		n := 0
		err := affected(&n)(update.ExecContext(ctx, now, row.at.partition, s.producer, s.seq+1, turn, row.id))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			s.seq++
			next[row.at] = s
		}
	}
	return next, nil
}

// errReturned says that rows became new again after others were read which come behind
// them.
var errReturned = errors.New("stamped rows became new again")

// returned tells how often stamped rows became new again. It is asked before rows are
// read that are to be stamped.
func (r *relay) returned(ctx context.Context) (n int64, err error) {
	err = r.db.SQL().QueryRowContext(ctx, r.db.Rebind("select returned from deed_outbox_turn")).Scan(&n)
	if err != nil {
		err = fmt.Errorf("read the turn: %w", err)
	}
	return n, err
}

// lastStamp returns a copy of the partition's stamp, or a new producer's.
func (r *relay) lastStamp(at place) *stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.stamps[at]; ok {
		return &stamp{s.producer, s.seq}
	}
	return &stamp{producer: deed.NewID()}
}

// unstamp makes all unsent rows of a partition new again and gives what is stamped
// next a new producer: after a number that will never be stored, no later one of
// the same producer can be, and another relay which still sends the old stamps
// meets a gap and stores nothing.
func (r *relay) unstamp(ctx context.Context, at place) error {
	r.stamping.Lock()
	defer r.stamping.Unlock()
	err := r.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, r.db.Rebind("update deed_outbox set state = 'new', changed = ?, "+
			"partition_no = null, producer = null, seq = null, turn = null "+
			"where state = 'stamped' and topic = ? and partition_no = ?"), time.Now().UnixMilli(), at.topic, at.partition)
		if err == nil {
			_, err = tx.ExecContext(ctx, r.db.Rebind("update deed_outbox_turn set returned = returned + 1"))
		}
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stamps, at)
	return err
}

func (r *relay) partition(ctx context.Context, t *deed.Topic, e deed.Event) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return r.bus.Partition(ctx, t, e)
}

// topics remembers topics by how they were declared.
type topics struct {
	mu    sync.Mutex
	known map[[2]string]*deed.Topic
}

// get returns the topic with its settings. Settings that cannot be read are as if
// none had been declared: the topic's own then hold.
func (c *topics) get(name, settings string) *deed.Topic {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := [2]string{name, settings}
	t, ok := c.known[at]
	if !ok {
		var opts deed.TopicOptions
		if json.Unmarshal([]byte(settings), &opts) != nil {
			opts = deed.TopicOptions{}
		}
		if c.known == nil {
			c.known = make(map[[2]string]*deed.Topic)
		}
		t = deed.NewTopic(name, &opts)
		c.known[at] = t
	}
	return t
}
