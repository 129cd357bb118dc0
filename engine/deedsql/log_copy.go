package deedsql

import (
	"context"
	"encoding/binary"
	"io"

	"github.com/jackc/pgx/v5/stdlib"
)

// copyRows is from how many rows on COPY costs less than an insert: each row is cheaper
// for both sides, and beginning one dearer for the server.
const copyRows = 48

const (
	logColumns = "deed_log (topic_id, partition, position, stored_at, bytes, meta, data)"
	copyEvents = "COPY " + logColumns + " FROM STDIN (FORMAT binary)"
	copyHead   = "PGCOPY\n\377\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" // no flags, no extension
	copyEnd    = "\xff\xff"
)

// copyIn sends a query's COPY.
func (s *session) copyIn(query string, from io.Reader) error {
	return s.conn.Raw(func(c any) error {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		_, err := c.(*stdlib.Conn).Conn().PgConn().CopyFrom(ctx, from, s.dialect.sql(query))
		return err
	})
}

// logReader is the rows of a buffer as COPY takes them in binary. It makes each when it
// is asked for, so that all of them are never there at once.
type logReader struct {
	rows   *logRows
	row    []byte // what is left of the row before its data
	data   []byte // and of that
	buffer []byte // that row is in
	ended  bool
}

func newLogReader(rows *logRows) *logReader { return &logReader{rows: rows, row: []byte(copyHead)} }

// Read implements [io.Reader].
func (r *logReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(r.row) > 0:
			k := copy(p[n:], r.row)
			n, r.row = n+k, r.row[k:]
		case len(r.data) > 0:
			k := copy(p[n:], r.data)
			n, r.data = n+k, r.data[k:]
		case r.ended:
			return n, io.EOF
		default:
			r.next()
		}
	}
	return n, nil
}

// next makes the next row, or the end.
func (r *logReader) next() {
	row, ok := r.rows.next()
	if !ok {
		r.row, r.ended = []byte(copyEnd), true
		return
	}
	const columns = 7
	b := binary.BigEndian.AppendUint16(r.buffer[:0], columns)
	b = appendInt64(b, row.topic)
	b = binary.BigEndian.AppendUint32(b, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(row.partition))
	b = appendInt64(b, row.position)
	b = appendInt64(b, row.stored)
	b = appendInt64(b, row.bytes)
	b = binary.BigEndian.AppendUint32(b, uint32(len(row.meta)))
	b = append(b, row.meta...)
	if row.data == nil {
		b = binary.BigEndian.AppendUint32(b, ^uint32(0)) // null
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(len(row.data)))
	}
	r.buffer, r.row, r.data = b, b, row.data
}

// appendInt64 appends a bigint with its length.
func appendInt64(b []byte, n int64) []byte {
	b = binary.BigEndian.AppendUint32(b, 8)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}
