package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
)

// stampAtOnce is what writeStamps does where each statement is a message to a server.
// Arrays go as JSON, which every driver can send.
func (r *relay) stampAtOnce(
	ctx context.Context, tx *sql.Tx, rows []newRow, turn, now int64,
) (map[place]*stamp, error) {
	there, err := r.stillNew(ctx, tx, rows)
	if err != nil {
		return nil, err
	}
	type update struct {
		ID        int64  `json:"id"`
		Partition int    `json:"partition_no"`
		Producer  string `json:"producer"`
		Seq       int64  `json:"seq"`
		Turn      int64  `json:"turn"`
	}
	var updates []update
	next := make(map[place]*stamp)
	for _, row := range rows {
		turn++
		if !there[row.id] {
			continue
		}
		if next[row.at] == nil {
			next[row.at] = r.lastStamp(row.at)
		}
		s := next[row.at]
		s.seq++
		updates = append(updates, update{row.id, row.at.partition, s.producer, s.seq, turn})
	}
	text, err := json.Marshal(updates)
	if err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, r.db.Rebind("update deed_outbox as o set state = 'stamped', changed = ?, "+
		"partition_no = u.partition_no, producer = u.producer, seq = u.seq, turn = u.turn "+
		"from json_to_recordset(?::json) "+
		"as u (id bigint, partition_no integer, producer text, seq bigint, turn bigint) where o.id = u.id"),
		now, string(text))
	return next, err
}

// stillNew returns which of rows nobody else has stamped or removed meanwhile.
func (r *relay) stillNew(ctx context.Context, tx *sql.Tx, rows []newRow) (map[int64]bool, error) {
	ids := make([]int64, len(rows))
	for i, row := range rows {
		ids[i] = row.id
	}
	text, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	found, err := tx.QueryContext(ctx, r.db.Rebind("select id from deed_outbox where state = 'new' and id in "+
		"(select v::bigint from json_array_elements_text(?::json) as v)"), string(text))
	if err != nil {
		return nil, err
	}
	there := make(map[int64]bool, len(rows))
	for found.Next() {
		var id int64
		if err = found.Scan(&id); err != nil {
			break
		}
		there[id] = true
	}
	return there, errors.Join(err, found.Err(), found.Close())
}
