package deedsql

import (
	"context"
	"database/sql"
	"sync"
)

// preparer is a *sql.DB or *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// statements prepares each query once. The engine has a fixed set of them, so the
// cache is bounded. Statements are closed with what they were prepared on. SQLite
// parses a statement again each time that it runs with a bare parameter as its LIMIT,
// so that what runs often says LIMIT ? + 0.
type statements struct {
	on      preparer
	dialect dialect

	mu    sync.RWMutex
	cache map[string]*sql.Stmt
}

// forUpdate ends a query of a write transaction whose rows nobody else may change until
// its end.
const forUpdate = " FOR UPDATE"

// forShare ends one whose rows others may lock so too, and change in what is no key.
const forShare = " FOR KEY SHARE"

func newStatements(on preparer, d dialect) *statements {
	return &statements{on: on, dialect: d, cache: make(map[string]*sql.Stmt)}
}

func (s *statements) get(query string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt := s.cache[query]
	s.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	// Without the caller's context: an interrupted preparation helps nobody.
	stmt, err := s.on.PrepareContext(context.Background(), s.dialect.sql(query))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.cache[query]; first != nil {
		stmt.Close()
		return first, nil
	}
	s.cache[query] = stmt
	return stmt, nil
}

// row scans the only row of a query into dest; sql.ErrNoRows when there is none.
func (s *statements) row(query string, args []any, dest ...any) error {
	if !s.dialect.prepares() {
		ctx, cancel := callContext()
		defer cancel()
		return s.on.QueryRowContext(ctx, s.dialect.sql(query), args...).Scan(dest...)
	}
	stmt, err := s.get(query)
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// query begins to read the rows of a query.
func (s *statements) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if !s.dialect.prepares() {
		return s.on.QueryContext(ctx, s.dialect.sql(query), args...)
	}
	stmt, err := s.get(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.Background(), args...) // nothing to cancel costs less
}

// each calls scan for every row of a query.
func (s *statements) each(query string, args []any, scan func(*sql.Rows) error) error {
	ctx, cancel := callContext()
	defer cancel()
	rows, err := s.query(ctx, query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
