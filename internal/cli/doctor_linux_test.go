package cli

import (
	"fmt"
	"os"
	"testing"
)

// whoLocks is how doctor names a lock that the tests' own process has.
var whoLocks = fmt.Sprintf("process %d (", os.Getpid())

func TestHolderIn(t *testing.T) {
	locks := []byte("1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n" +
		"2: FLOCK  ADVISORY  WRITE 12 08:01:770 0 EOF\n" +
		"3: FLOCK  ADVISORY  READ 13 08:01:77 0 EOF\n" +
		"3: -> FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF\n" +
		"4: FLOCK  ADVISORY  WRITE 15 08:01:77 0 EOF\n")
	if pid := holderIn(locks, 77); pid != 15 {
		t.Errorf("held by %d (want 15)", pid)
	}
	if pid := holderIn(locks, 78); pid != 0 {
		t.Errorf("held by %d (want nobody)", pid)
	}
}
