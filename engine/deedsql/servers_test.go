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
