package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/deedgo/deed"
)

// Refused is an event that the engine will not take.
type Refused struct {
	ID    int64 // by which Retry and Discard name it
	Topic string
	Event deed.Event
	Error string
	Since time.Time
}

// refusedMax bounds the answer of Refused.
const refusedMax = 1000

// Refused returns the first 1000 events that were set aside, oldest first.
func (o *Outbox) Refused(ctx context.Context) ([]Refused, error) {
	if err := o.usable(); err != nil {
		return nil, err
	}
	rows, err := o.db.SQL().QueryContext(ctx, o.db.Rebind("select id, topic, event, data, error, changed "+
		"from deed_outbox where state = 'refused' order by id limit ?"), refusedMax)
	if err != nil {
		return nil, fmt.Errorf("outbox: list refused events: %w", err)
	}
	defer rows.Close()
	var all []Refused
	for rows.Next() {
		var r Refused
		var attributes string
		var data []byte
		var changed int64
		if err := rows.Scan(&r.ID, &r.Topic, &attributes, &data, &r.Error, &changed); err != nil {
			return nil, fmt.Errorf("outbox: list refused events: %w", err)
		}
		// What cannot be read was refused for that reason, which Error holds.
		_ = json.Unmarshal([]byte(attributes), &r.Event)
		r.Event.Data, r.Since = data, time.UnixMilli(changed)
		all = append(all, r)
	}
	return all, rows.Err()
}

// Retry makes refused events pending again, all of them when no ids are given, and
// returns how many. They are sent after the events that were sent meanwhile.
func (o *Outbox) Retry(ctx context.Context, ids ...int64) (int, error) {
	return o.eachRefused(ctx, "retry", "update deed_outbox set state = 'new', error = '' where state = 'refused'", ids)
}

// Discard removes refused events for good, all of them when no ids are given, and
// returns how many.
func (o *Outbox) Discard(ctx context.Context, ids ...int64) (int, error) {
	return o.eachRefused(ctx, "discard", "delete from deed_outbox where state = 'refused'", ids)
}

func (o *Outbox) eachRefused(ctx context.Context, what, query string, ids []int64) (int, error) {
	if err := o.usable(); err != nil {
		return 0, err
	}
	n := 0
	err := o.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n = 0
		if len(ids) == 0 {
			return affected(&n)(tx.ExecContext(ctx, o.db.Rebind(query)))
		}
		for _, id := range ids {
			if err := affected(&n)(tx.ExecContext(ctx, o.db.Rebind(query+" and id = ?"), id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("outbox: %s refused events: %w", what, err)
	}
	return n, nil
}

// affected adds the rows that a statement changed to n.
func affected(n *int) func(sql.Result, error) error {
	return func(r sql.Result, err error) error {
		if err != nil {
			return err
		}
		rows, err := r.RowsAffected()
		*n += int(rows)
		return err
	}
}
