package deedsql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// userTx is a transaction of the service's on the engine's own file, in which the engine
// writes.
type userTx interface {
	driver.Execer
	preparer
}

// newUserSession returns a session in a transaction of the service's. It is not closed: its
// statements end with the transaction.
func newUserSession(tx userTx, d dialect) *session {
	return &session{dialect: d, user: tx, statements: newStatements(tx, d)}
}

// userExec is exec in a transaction of the service's.
func (s *session) userExec(query string, args []sqldriver.Value) (sqldriver.Result, error) {
	return s.user.ExecContext(context.Background(), s.dialect.sql(query), anys(args)...)
}

// userEach is each in a transaction of the service's.
func (s *session) userEach(query string, scan func(row []sqldriver.Value) bool, args []sqldriver.Value) error {
	rows, err := s.user.QueryContext(context.Background(), s.dialect.sql(query), anys(args)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	row := make([]sqldriver.Value, len(columns))
	dest := make([]any, len(columns))
	for i := range row {
		dest[i] = (*any)(&row[i])
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if !scan(row) {
			break
		}
	}
	return rows.Err()
}

func anys(values []sqldriver.Value) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}

// appendIn stores batches as part of a transaction of the service's, which is the file's
// only writer as soon as it writes.
func (c *Conn) appendIn(tx driver.Execer, batches []driver.Batch) error {
	user, ok := tx.(userTx)
	if !ok {
		return fmt.Errorf("%w: a transaction of type %T cannot be asked anything (want a *sql.Tx)", errors.ErrUnsupported, tx)
	}
	known := newKnown(0)
	known.time = c.dialect.now()
	t := newTx(newUserSession(user, c.dialect), known, &needs{}, func(int64) bool { return false })
	for i := range batches { // before anything is written
		if _, err := t.topic(batches[i].Topic); err != nil {
			return err
		}
	}
	for i := range batches {
		r, err := t.append(&batches[i])
		if err = errors.Join(err, r.Err); err != nil {
			return err
		}
	}
	for id := range t.delayed {
		c.moves(id)
	}
	return t.flush()
}

var _ userTx = (*sql.Tx)(nil)
