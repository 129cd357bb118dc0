package deedsql

import (
	"bytes"
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"io"
	"sync"
	"time"
)

// session runs prepared statements on one connection below database/sql, which
// would convert and copy every value once more: what is done for each event goes
// this way. Values are of the driver's own types: int64, string, []byte and nil. It
// is used by one goroutine at a time.
type session struct {
	conn       *sql.Conn
	dialect    dialect
	statements *statements // the same connection by way of database/sql
	stmts      map[string]sqldriver.Stmt
	named      []sqldriver.NamedValue // reused by every call
	user       userTx                 // in place of conn: a transaction of the service's
}

func newSession(conn *sql.Conn, d dialect) *session {
	return &session{
		conn: conn, dialect: d, statements: newStatements(conn, d), stmts: make(map[string]sqldriver.Stmt),
	}
}

// callTimeout is how long a server may take to answer one call.
const callTimeout = time.Minute

func callContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTimeout)
}

// prepared calls use with the statement of a query.
func (s *session) prepared(query string, use func(sqldriver.Stmt) error) error {
	return s.conn.Raw(func(c any) error {
		stmt := s.stmts[query]
		if stmt == nil {
			var err error
			if stmt, err = c.(sqldriver.Conn).Prepare(s.dialect.sql(query)); err != nil {
				return err
			}
			s.stmts[query] = stmt
		}
		return use(stmt)
	})
}

// exec runs a statement.
func (s *session) exec(query string, args ...sqldriver.Value) (r sqldriver.Result, err error) {
	if s.user != nil {
		return s.userExec(query, args)
	}
	if !s.dialect.prepares() {
		ctx, cancel := callContext()
		defer cancel()
		err = s.conn.Raw(func(c any) error {
			r, err = c.(sqldriver.ExecerContext).ExecContext(ctx, s.dialect.sql(query), s.values(args))
			return err
		})
		return r, err
	}
	err = s.prepared(query, func(stmt sqldriver.Stmt) error {
		r, err = stmt.(sqldriver.StmtExecContext).ExecContext(context.Background(), s.values(args))
		return err
	})
	return r, err
}

// insert runs a statement and returns the last row id that it gave.
func (s *session) insert(query string, args ...sqldriver.Value) (last int64, err error) {
	r, err := s.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// each calls scan for the rows of a query until it returns false. The row is
// overwritten by the next one, and scan may not use the session.
func (s *session) each(query string, scan func(row []sqldriver.Value) bool, args ...sqldriver.Value) error {
	if s.user != nil {
		return s.userEach(query, scan, args)
	}
	if !s.dialect.prepares() {
		ctx, cancel := callContext()
		defer cancel()
		return s.conn.Raw(func(c any) error {
			rows, err := c.(sqldriver.QueryerContext).QueryContext(ctx, s.dialect.sql(query), s.values(args))
			return s.scanRows(rows, err, scan)
		})
	}
	return s.prepared(query, func(stmt sqldriver.Stmt) error {
		rows, err := stmt.(sqldriver.StmtQueryContext).QueryContext(context.Background(), s.values(args))
		return s.scanRows(rows, err, scan)
	})
}

// scanRows calls scan for the rows of a query that was answered, or failed.
func (s *session) scanRows(rows sqldriver.Rows, err error, scan func(row []sqldriver.Value) bool) error {
	if err != nil {
		return err
	}
	row := make([]sqldriver.Value, len(rows.Columns()))
	if s.dialect.lends() {
		scan = owning(rows, scan)
	}
	for err = rows.Next(row); err == nil && scan(row); {
		err = rows.Next(row)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// owning calls scan with rows that are not lent: text as a string, and copies of blobs.
func owning(rows sqldriver.Rows, scan func(row []sqldriver.Value) bool) func(row []sqldriver.Value) bool {
	blobs := make([]bool, len(rows.Columns()))
	for i := range blobs {
		blobs[i] = rows.(sqldriver.RowsColumnTypeDatabaseTypeName).ColumnTypeDatabaseTypeName(i) == "BLOB"
	}
	return func(row []sqldriver.Value) bool {
		for i, v := range row {
			lent, ok := v.([]byte)
			switch {
			case !ok:
			case blobs[i]:
				row[i] = bytes.Clone(lent)
			default:
				row[i] = string(lent)
			}
		}
		return scan(row)
	}
}

// values numbers the arguments, which is how the driver takes them.
func (s *session) values(args []sqldriver.Value) []sqldriver.NamedValue {
	for len(s.named) < len(args) {
		s.named = append(s.named, sqldriver.NamedValue{Ordinal: len(s.named) + 1})
	}
	for i, v := range args {
		s.named[i].Value = v
	}
	return s.named[:len(args)]
}

func (s *session) close() error {
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// idleSessions is how many are kept for the next reader, with their statements.
const idleSessions = 8

// sessions lends sessions to readers.
type sessions struct {
	db      *sql.DB
	dialect dialect

	mu     sync.Mutex
	idle   []*session
	closed bool
}

// with lends a session to run, another one when its connection turns out to be gone.
// One that failed is not used again.
func (p *sessions) with(run func(*session) error) error {
	for range idleSessions {
		if err := p.once(run); !errors.Is(err, sqldriver.ErrBadConn) {
			return err
		}
	}
	return p.once(run)
}

func (p *sessions) once(run func(*session) error) error {
	s, err := p.take()
	if err != nil {
		return err
	}
	err = run(s)
	p.mu.Lock()
	keep := err == nil && !p.closed && len(p.idle) < idleSessions && p.dialect.prepares()
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		err = errors.Join(err, s.close())
	}
	return err
}

func (p *sessions) take() (*session, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	ctx, cancel := callContext()
	defer cancel()
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return newSession(conn, p.dialect), nil
}

func (p *sessions) close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	var errs []error
	for _, s := range idle {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}
