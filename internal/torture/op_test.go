package torture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadOpsReturnsWhatWasRecorded(t *testing.T) {
	dir := t.TempDir()
	rec, err := NewRecorder(dir, "p-1.1")
	if err != nil {
		t.Fatal(err)
	}
	rec.Record(Op{Do: Invoke, ID: "a/1", KV: 1, Call: 7}, Op{Do: OK, ID: "a/1", Call: 7})
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	ops, err := ReadOps(dir, "p-1.*")
	if err != nil || len(ops) != 2 || ops[0].Call != 7 || ops[0].Proc != "p-1.1" || ops[0].Time == 0 || ops[1].Do != OK {
		t.Errorf("ReadOps returned %+v, %v", ops, err)
	}
	if ops, err := ReadOps(dir, "p-2.*"); err != nil || len(ops) != 0 {
		t.Errorf("another process has %v, %v", ops, err)
	}
}

func TestReadOpsForgivesATornLastLineOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		n    int
		err  string
	}{
		"torn at the end":    {`{"t":1,"do":"ok"}` + "\n" + `{"t":2,"do"`, 1, ""},
		"torn in the middle": {`{"t":1,"do"` + "\n" + `{"t":2,"do":"ok"}` + "\n", 0, "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "p-1.1"+logSuffix), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			ops, err := ReadOps(dir, "*")
			if tc.err == "" && (err != nil || len(ops) != tc.n) {
				t.Errorf("ReadOps returned %v, %v", ops, err)
			}
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("ReadOps returned %v", err)
			}
		})
	}
}

func TestAFactIsTheSameInEveryLife(t *testing.T) {
	a, b := newFact("k", 3, false), newFact("k", 3, false)
	if a.sum() != b.sum() || a.id() != "k/3" {
		t.Errorf("%+v and %+v", a, b)
	}
	if a.sum() == newFact("k", 4, false).sum() {
		t.Error("two events have one sum")
	}
}
