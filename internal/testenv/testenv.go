// Package testenv says what happens to a test whose surroundings are incomplete: a
// server that does not run, a file system that lacks something.
//
// Such a test is skipped with a line that says what it wants. Under
// DEED_TEST_REQUIRE=all, which continuous integration sets, it fails instead, so
// that nothing stays untested unseen.
package testenv

import (
	"os"
	"testing"
)

// RequireVar names the environment variable that turns skips into failures when
// it is "all".
const RequireVar = "DEED_TEST_REQUIRE"

// Require goes on when missing is nil. Otherwise it skips the test, or fails it
// where everything is required. What names the thing the test wants and where it
// comes from.
func Require(t testing.TB, what string, missing error) {
	t.Helper()
	if missing == nil {
		return
	}
	if os.Getenv(RequireVar) == "all" {
		t.Fatalf("this test wants %s: %v (%s=all)", what, missing, RequireVar)
		return
	}
	t.Skipf("this test wants %s: %v", what, missing)
}

// Addr returns the address of a server for tests, which DEED_TEST_<NAME> holds:
// Addr(t, "REDIS") reads DEED_TEST_REDIS. Where it is unset the test ends as
// Require says.
func Addr(t testing.TB, name string) string {
	t.Helper()
	variable := "DEED_TEST_" + name
	addr := os.Getenv(variable)
	if addr == "" {
		Require(t, variable+", the address of a server", os.ErrNotExist)
	}
	return addr
}
