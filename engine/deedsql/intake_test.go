package deedsql

import (
	"database/sql"
	"testing"

	"github.com/deedgo/deed/internal/mariatest"
)

// To remove rows of the intake waits for no transaction that has added others, whichever
// come first.
func TestMySQLIntakeWaitsForNobody(t *testing.T) {
	s := mariatest.Start(t)
	name := s.Database(t)
	c, err := Open(t.Context(), s.URL(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	add := func(on interface {
		Exec(query string, args ...any) (sql.Result, error)
	}) int64 {
		t.Helper()
		r, err := on.Exec("insert into deed_intake (topic_id, `partition`, `key`, id, source, type, version) " +
			"values (1, 0, '', '', '', '', 1)")
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.LastInsertId()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	begin := func() *sql.Tx {
		t.Helper()
		tx, err := c.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tx.Rollback() })
		return tx
	}
	before, after, remover := begin(), begin(), begin()
	add(before)
	there := []int64{add(c.db), add(c.db)}
	add(after)
	if _, err := remover.Exec("set innodb_lock_wait_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	r, err := remover.Exec(c.dialect.sql(deleteIntake), append([]any{1, 0}, padded(there)...)...)
	if err != nil {
		t.Fatalf("removing what is committed: %v", err)
	}
	if n, err := r.RowsAffected(); n != 2 || err != nil {
		t.Errorf("%d rows were removed, want 2: %v", n, err)
	}
}
