package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the repository's, seen from this package.
var root = filepath.Join("..", "..")

const module = "github.com/deedgo/deed"

// goFile is a parsed Go file.
type goFile struct {
	path string // from the root, with slashes
	src  []byte
	fset *token.FileSet
	ast  *ast.File
}

func (f *goFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f *goFile) line(p token.Pos) int { return f.fset.Position(p).Line }

func parse(name string, src []byte) (*goFile, error) {
	f := &goFile{path: name, src: src, fset: token.NewFileSet()}
	var err error
	f.ast, err = parser.ParseFile(f.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	return f, err
}

// textFiles returns every text file of the repository by its path.
var textFiles = sync.OnceValues(func() (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == "bin" || strings.HasPrefix(d.Name(), ".") && rel != "." && rel != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || rel == ".git" { // which is a file in a worktree
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if len(text) < 1<<20 && !bytes.ContainsRune(text, 0) {
			files[rel] = text
		}
		return nil
	})
	return files, err
})

func texts(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := textFiles()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// goFiles returns the repository's Go files, those under testdata apart.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	for name, src := range texts(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			continue
		}
		f, err := parse(name, src)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *goFile) int { return strings.Compare(a.path, b.path) })
	return files
}

// finding is a rule broken at a place, which is a path or path#Name.
type finding struct{ place, says string }

func at(f *goFile, pos token.Pos, format string, args ...any) finding {
	return finding{f.path, fmt.Sprintf("line %d: ", f.line(pos)) + fmt.Sprintf(format, args...)}
}

// report fails t for findings without an exception, and for exceptions of the
// rule without a finding.
func report(t *testing.T, rule string, findings []finding) {
	t.Helper()
	excepted := exceptions(t, rule)
	used := map[string]bool{}
	for _, f := range findings {
		if excepted[f.place] {
			used[f.place] = true
			continue
		}
		t.Errorf("%s: %s", f.place, f.says)
	}
	for place := range excepted {
		if !used[place] {
			t.Errorf("exceptions.txt: %s %s is not needed any more: remove it", rule, place)
		}
	}
}

// exceptions returns the places where a rule may be broken.
func exceptions(t *testing.T, rule string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || fields[0] != rule {
			continue
		}
		if len(fields) < 4 {
			t.Errorf("exceptions.txt: %s has no reason", strings.TrimSpace(line))
		}
		if len(fields) > 1 {
			places[fields[1]] = true
		}
	}
	return places
}
