package redistest

import (
	"os"
	"testing"
)

// AddrVar names the environment variable that holds the address of a running server,
// host:port, for the tests that only need some server.
const AddrVar = "DEED_TEST_REDIS"

// Open returns the address of a server: the one in DEED_TEST_REDIS, or one of its
// own for the test. What is in it is left alone, so keys have to be the test's own.
func Open(t testing.TB) (addr string) {
	t.Helper()
	if addr := os.Getenv(AddrVar); addr != "" {
		return addr
	}
	return Start(t).Addr()
}
