package testenv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/testenv"
)

// recorder notes how a test would have ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Skipf(format string, a ...any)  { r.skipped = fmt.Sprintf(format, a...) }
func (r *recorder) Fatalf(format string, a ...any) { r.failed = fmt.Sprintf(format, a...) }

func TestRequire(t *testing.T) {
	missing := errors.New("connection refused")
	for _, c := range []struct {
		name, require string
		missing       error
		skips, fails  bool
	}{
		{name: "present", missing: nil},
		{name: "present where all is required", require: "all", missing: nil},
		{name: "absent", missing: missing, skips: true},
		{name: "absent where all is required", require: "all", missing: missing, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(testenv.RequireVar, c.require)
			r := &recorder{TB: t}
			testenv.Require(r, "a server", c.missing)
			if (r.skipped != "") != c.skips || (r.failed != "") != c.fails {
				t.Errorf("skipped %q, failed %q", r.skipped, r.failed)
			}
			if said := r.skipped + r.failed; said != "" && !strings.Contains(said, "a server: connection refused") {
				t.Errorf("does not say what is missing: %q", said)
			}
		})
	}
}

func TestAddr(t *testing.T) {
	t.Setenv("DEED_TEST_EXAMPLE", "127.0.0.1:7777")
	if got, want := testenv.Addr(t, "EXAMPLE"), "127.0.0.1:7777"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
