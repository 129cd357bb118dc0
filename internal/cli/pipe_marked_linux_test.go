package cli

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Deed may be killed between the start of a command and the word to the guard.
func TestGuardFindsCommandsThatItWasNotToldOf(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo; wait")
	cmd.Env = append(os.Environ(), guardVariable+"=told-nothing")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if code := guardGroups(strings.NewReader("end\n"), "told-nothing"); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if pids := marked(guardVariable + "=told-nothing"); len(pids) != 2 {
		t.Errorf("after a clean end %d processes go on, want 2", len(pids))
	}
	if code := guardGroups(strings.NewReader(""), "told-nothing"); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.ReadString('\n') // until shell and sleep have closed it
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the command goes on")
	}
	cmd.Wait()
}
