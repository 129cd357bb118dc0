package deedsql

import (
	"context"
	"database/sql"
	"sync"
)

// preparer is a *sql.DB or *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// statements prepares each query once. The engine has a fixed set of them, so the
// cache is bounded. Statements are closed with what they were prepared on. SQLite
// parses a statement again each time that it runs with a bare parameter as its LIMIT,
// so that what runs often says LIMIT ? + 0.
type statements struct {
	on preparer

	mu    sync.RWMutex
	cache map[string]*sql.Stmt
}

func newStatements(on preparer) *statements {
	return &statements{on: on, cache: make(map[string]*sql.Stmt)}
}

func (s *statements) get(query string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt := s.cache[query]
	s.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	// Without the caller's context: an interrupted preparation helps nobody.
	stmt, err := s.on.PrepareContext(context.Background(), query)
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
	stmt, err := s.get(query)
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(context.Background(), args...).Scan(dest...)
}

// each calls scan for every row of a query.
func (s *statements) each(query string, args []any, scan func(*sql.Rows) error) error {
	stmt, err := s.get(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(context.Background(), args...)
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
