package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/testenv"
)

// testRoles are what worker processes of this package's tests can be, beside the
// publishers and consumers.
var testRoles = map[string]Role{
	"idler":  idler,
	"failer": func(context.Context, Job) error { return errors.New("I never wanted this job") },
}

func TestMain(m *testing.M) {
	Worker(testRoles)
	testenv.Parallel(4)
	os.Exit(m.Run())
}

// idler says that it is there and waits for its end.
func idler(ctx context.Context, job Job) error {
	if err := os.WriteFile(filepath.Join(job.Dir, job.proc()), nil, 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// spawn prepares a worker that runs this test binary, and kills it at the end.
func spawn(t *testing.T, job Job) *Process {
	t.Helper()
	if job.Dir == "" {
		job.Dir = t.TempDir()
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := NewProcess([]string{self}, nil, job)
	t.Cleanup(func() { p.Kill() })
	return p
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, what)
		}
		if err := pause(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAProcessIsKilledFrozenAndStopped(t *testing.T) {
	dir := t.TempDir()
	p := spawn(t, Job{Role: "idler", Name: "idler", Dir: dir})
	ready := func(life int) {
		t.Helper()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the idler is not there", 30*time.Second, func() bool {
			_, err := os.Stat(filepath.Join(dir, fmt.Sprintf("idler.%d", life)))
			return err == nil
		})
	}
	ready(1)
	if err := p.Start(); err == nil {
		t.Error("it started while it was running")
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if err := p.Check(); err != nil {
		t.Errorf("a process that was killed did not end by itself: %v", err)
	}
	ready(2)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("a frozen process did not end cleanly: %v", err)
	}
	if err := p.Signal(syscall.SIGSTOP); err == nil {
		t.Error("a process that had ended was frozen")
	}
}

func TestAProcessThatEndsByItselfIsNoticed(t *testing.T) {
	p := spawn(t, Job{Role: "failer", Name: "failer"})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "I never wanted this job") {
		t.Errorf("Check returned %v", err)
	}
	if err := p.Stop(t.Context()); err == nil {
		t.Error("Stop took exit status 1 for a clean end")
	}
}
