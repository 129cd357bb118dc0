package deedsql

import (
	"testing"

	"github.com/deedgo/deed/internal/mariatest"
	"github.com/deedgo/deed/internal/pgtest"
)

// onServers runs a test on an empty database of each kind of server.
func onServers(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.Open(t))
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		test(t, mariatest.Open(t))
	})
}

// patient lets a test's transaction stand still, which the server would end.
func patient(t *tx) error {
	query := "SET LOCAL idle_in_transaction_session_timeout = 0"
	if _, ok := t.dialect.(*mysqlDialect); ok {
		query = "SET SESSION idle_transaction_timeout = 0"
	}
	_, err := t.exec(query)
	return err
}

// server is one that a test kills.
type server interface {
	Kill()
	Restart(settings ...string)
}

// onKilled is onServers for a test that kills them.
func onKilled(t *testing.T, test func(t *testing.T, s server, url string)) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		s := pgtest.Start(t)
		test(t, s, s.URL(s.Database(t)))
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		s := mariatest.Start(t)
		test(t, s, s.URL(s.Database(t)))
	})
}
