package testserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Home returns a new directory for a server that refuses to run as root: it is
// nobody's where the test runs as root, and removed with the test.
func Home(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deed-test-") // above t.TempDir() is a directory that only we may enter
	if err == nil {
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		err = give(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run runs a command to its end, in a directory from [Home] and as a server there
// would run. Its error holds what the command said.
func Run(home string, command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.SysProcAttr = home, bound(0, true)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command[0], err, bytes.TrimSpace(out))
	}
	return nil
}
