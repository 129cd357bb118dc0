package redistest_test

import (
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

// command runs a command that has to succeed.
func command(t *testing.T, s *redistest.Server, args ...string) string {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestKillAndRestart(t *testing.T) {
	for _, c := range []struct {
		name       string
		directives []string
		want       string
	}{
		{"nothing is persisted", nil, ""},
		{"appendfsync always", []string{"appendonly yes", "appendfsync always"}, "kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Start(t, c.directives...)
			command(t, s, "SET", "key", "kept")
			addr, pid := s.Addr(), s.PID()
			s.Kill()
			if _, err := s.Command("PING"); err == nil || s.PID() != 0 {
				t.Errorf("a killed server answers, or has process %d", s.PID())
			}
			s.Restart()
			if s.Addr() != addr || s.PID() == pid {
				t.Errorf("moved from %s to %s, process %d became %d", addr, s.Addr(), pid, s.PID())
			}
			if got := command(t, s, "GET", "key"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
