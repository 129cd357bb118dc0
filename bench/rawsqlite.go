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

// The tables that a raw client writes. Both hold what deed's hold of each event.
const (
	// rawRowid is the cheapest table there is: rows in the order of writing.
	rawRowid = "create table log (position integer primary key, " + rawColumns + ")"
	// rawIndexed is deed's own, whose index finds the events of a partition.
	rawIndexed = "create table log (topic_id integer not null, partition integer not null, " +
		"position integer not null, " + rawColumns + ", primary key (topic_id, partition, position))"
	rawColumns = "stored_at integer not null, id text not null, source text not null, type text not null, " +
		"version integer not null, key text not null, time integer, attributes text, data blob"

	rawRows       = 50 // in one insert: more bring nothing
	rawPartitions = 16
)

// rawSQLite writes with database/sql what deed writes, in the way that is fastest: one
// connection, large transactions, prepared inserts of many rows. Nobody reads: an
// event counts as handled when it is committed.
func rawSQLite(name, table string) system {
	return system{name: name, durability: "power",
		start: func(ctx context.Context, dir string, handle func([]byte)) (*started, error) {
			db, err := sqldb.OpenSQLite(filepath.Join(dir, "raw.db"), nil)
			if err != nil {
				return nil, err
			}
			w := &rawWriter{indexed: table == rawIndexed}
			if _, err := db.ExecContext(ctx, table); err != nil {
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
	indexed   bool
	conn      *sql.Conn
	many, one *sql.Stmt
	position  int64
	args      []any
}

func (w *rawWriter) insert(rows int) string {
	columns, count := "position, ", 10
	if w.indexed {
		columns, count = "topic_id, partition, position, ", 12
	}
	row := "(?" + strings.Repeat(", ?", count-1) + ")"
	return "insert into log (" + columns + "stored_at, id, source, type, version, key, time, attributes, data) values " +
		row + strings.Repeat(", "+row, rows-1)
}

// write is one transaction.
func (w *rawWriter) write(ctx context.Context, events []event) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	now := time.Now()
	for first := 0; first < len(events); {
		stmt, n := w.one, 1
		if len(events)-first >= rawRows {
			stmt, n = w.many, rawRows
		}
		w.args = w.args[:0]
		for _, e := range events[first : first+n] {
			w.add(e, now)
		}
		if _, err := stmt.ExecContext(ctx, w.args...); err != nil {
			return err
		}
		first += n
	}
	_, err := w.conn.ExecContext(ctx, "COMMIT")
	return err
}

// add appends one row: the columns that deed fills, with values of the same sizes.
func (w *rawWriter) add(e event, now time.Time) {
	w.position++
	if w.indexed {
		w.args = append(w.args, 1, w.position%rawPartitions, w.position/rawPartitions)
	} else {
		w.args = append(w.args, w.position)
	}
	w.args = append(w.args, now.UnixNano(), deed.NewID(), "/bench", "orders.created", 1, e.key, now.UnixNano(),
		`{"datacontenttype":`+strconv.Quote(rawCodec{}.ContentType())+`}`, e.data)
}
