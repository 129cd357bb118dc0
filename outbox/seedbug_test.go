package outbox_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A test that cannot fail proves nothing: the planted bug "overtake", a publisher that does
// not sequence first what transactions have committed, is caught.
func TestPlantedBugIsCaught(t *testing.T) {
	if os.Getenv("DEED_SEEDBUG") != "" {
		t.Skip("this is the run with the bug")
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-tags", "seedbug", "-count", "1", "-v",
		"-run", "^TestIntake$/^Postgres$/^(direct_does_not_overtake|rolled_back)$", ".")
	run.Env = append(os.Environ(), "DEED_SEEDBUG=overtake")
	out, err := run.CombinedOutput()
	if err == nil {
		t.Error("the tests pass with a publisher that overtakes transactions")
	}
	for name, verdict := range map[string]string{"direct_does_not_overtake": "FAIL", "rolled_back": "PASS"} {
		if line := "--- " + verdict + ": TestIntake/Postgres/" + name + " "; !strings.Contains(string(out), line) {
			t.Errorf("%q is not in what the tests say:\n%s", line, out)
		}
	}
}
