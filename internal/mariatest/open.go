package mariatest

import (
	"os"
	"testing"
)

// URLVar names the environment variable that holds the URL of an empty database of a
// running server, MariaDB or MySQL, for the tests that only need some database.
const URLVar = "DEED_TEST_MYSQL"

// Open returns the URL of a database: the one in DEED_TEST_MYSQL, or one of its own for
// the test. What is in it is left alone, so names have to be the test's own.
func Open(t testing.TB) string {
	t.Helper()
	if url := os.Getenv(URLVar); url != "" {
		return url
	}
	s := Start(t)
	return s.URL(s.Database(t))
}
