package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/sqldb"
)

// rawRows is how many rows an insert has: more bring nothing.
const rawRows = 50

// rawTable is a table that a raw client writes, with what deed's log holds of each
// event.
type rawTable struct {
	create  string
	insert  string // up to its values
	columns int
	// add appends one row's values.
	add func(row []any, n int64, id string, e event, now int64) []any
}

// rawLog has the very bytes of deed's log, in the order of writing: the cheapest
// there is.
var rawLog = &rawTable{
	create:  "create table log (n integer primary key, meta text not null, data blob)",
	insert:  "insert into log (n, meta, data) values ",
	columns: 3,
	add: func(row []any, n int64, id string, e event, now int64) []any {
		meta := make([]byte, 0, 96)
		meta = append(append(meta, `[1,"`...), id...)
		meta = append(append(meta, `","`...), e.key...)
		meta = strconv.AppendInt(append(meta, `",`...), now, 10)
		return append(row, n, string(append(meta, ']')), e.data)
	},
}

// rawColumns has a column for each attribute, as one would make it by hand.
var rawColumns = &rawTable{
	create: "create table log (n integer primary key, stored_at integer not null, id text not null, " +
		"source text not null, type text not null, version integer not null, key text not null, time integer, " +
		"content_type text, data blob)",
	insert:  "insert into log (n, stored_at, id, source, type, version, key, time, content_type, data) values ",
	columns: 10,
	add: func(row []any, n int64, id string, e event, now int64) []any {
		return append(row, n, now, id, "/bench", "orders.created", 1, e.key, now, rawCodec{}.ContentType(), e.data)
	},
}

// rawSQLite writes with database/sql what deed writes, in the way that is fastest: one
// connection, large transactions, prepared inserts of many rows. Nobody reads: an
// event counts as handled when it is committed.
func rawSQLite(name string, table *rawTable) system {
	return system{name: name, durability: "power",
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			db, err := sqldb.OpenSQLite(filepath.Join(dir, "raw.db"), nil)
			if err != nil {
				return nil, err
			}
			w := &rawWriter{table: table}
			if _, err := db.ExecContext(ctx, table.create); err != nil {
				return nil, err
			}
			if w.conn, err = db.Conn(ctx); err != nil {
				return nil, err
			}
			if w.many, err = w.conn.PrepareContext(ctx, w.insert(rawRows)); err != nil {
				return nil, err
			}
			if w.one, err = w.conn.PrepareContext(ctx, w.insert(1)); err != nil {
				return nil, err
			}
			return &started{
				publish: func(ctx context.Context, events []event) error {
					if err := w.write(ctx, events); err != nil {
						return err
					}
					for i := range events {
						handle(events[i].data)
					}
					return nil
				},
				stop: db.Close,
			}, nil
		}}
}

type rawWriter struct {
	table     *rawTable
	conn      *sql.Conn
	many, one *sql.Stmt
	last      int64 // number of the last row
	row       []any
}

func (w *rawWriter) insert(rows int) string {
	row := "(?" + strings.Repeat(", ?", w.table.columns-1) + ")"
	return w.table.insert + row + strings.Repeat(", "+row, rows-1)
}

// write is one transaction.
func (w *rawWriter) write(ctx context.Context, events []event) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	now := time.Now().UnixNano()
	for first := 0; first < len(events); {
		stmt, n := w.one, 1
		if len(events)-first >= rawRows {
			stmt, n = w.many, rawRows
		}
		w.row = w.row[:0]
		for _, e := range events[first : first+n] {
			w.last++
			w.row = w.table.add(w.row, w.last, deed.NewID(), e, now)
		}
		if _, err := stmt.ExecContext(ctx, w.row...); err != nil {
			return err
		}
		first += n
	}
	_, err := w.conn.ExecContext(ctx, "COMMIT")
	return err
}
