package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	linesWanted  = 400 // of a file, unless it has an exception
	linesAtMost  = 600 // of a file, without exception
	funcLines    = 70
	columnsOfRow = 120
)

// rule is something that can be said about one Go file.
type rule struct {
	name  string
	check func(f *goFile) []finding
	bad   string // a file that breaks it, so that the rule itself is tested
	good  string // a file that only looks so
	file  string // the name of both
}

var rules = []rule{
	{name: "format", check: formatted, file: "a.go",
		bad: "package a\nvar  x int\n", good: "package a\n\nvar x int\n"},
	{name: "file-lines", check: fileLines, file: "a.go",
		bad:  "package a\n" + strings.Repeat("//\n", linesWanted),
		good: "package a\n" + strings.Repeat("//\n", linesWanted-1)},
	{name: "file-lines-hard", check: fileLinesHard, file: "a.go",
		bad:  "package a\n" + strings.Repeat("//\n", linesAtMost),
		good: "package a\n" + strings.Repeat("//\n", linesAtMost-1)},
	{name: "func-lines", check: longFuncs, file: "a.go",
		bad:  "package a\nfunc f() {" + strings.Repeat("\n", funcLines) + "}\n",
		good: "package a\nfunc f() {" + strings.Repeat("\n", funcLines-1) + "}\n"},
	{name: "line-columns", check: longLines, file: "a.go",
		bad:  "package a\n//" + strings.Repeat("x", columnsOfRow),
		good: "package a\n//" + strings.Repeat("ü", columnsOfRow-2)},
	{name: "exported-doc", check: undocumented, file: "a.go",
		bad:  "package a\nfunc F() {}\n",
		good: "package a\n\n// F does.\nfunc F() {}\n\ntype t int\n\nfunc (t) M() {}\n"},
	{name: "no-init", check: inits, file: "a.go",
		bad: "package a\nfunc init() {}\n", good: "package main\nfunc init() {}\n"},
	{name: "no-sleep", check: sleeps, file: "none/a_test.go",
		bad:  "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		good: "package a\nfunc f() { clock.Sleep(1) }\n"},
	{name: "go-statement", check: goStatements, file: "a.go",
		bad: "package a\nfunc f() { go f() }\n", good: "package a\nfunc f() { f() }\n"},
	{name: "lint-reason", check: silentLints, file: "a.go",
		bad:  "package a\n\nvar x int //nolint:unused\n",
		good: "package a\n\n//lint:ignore U1000 kept for the linker, which looks it up by name\nvar x int\n"},
	{name: "word", check: bannedWords, file: "a.go",
		bad: "package a\nfunc emitAll() {}\n", good: "package a\nfunc remitAll() {}\n"},
	{name: "unfinished", check: unfinished, file: "a.go",
		bad: "package a\n// TO" + "DO: later\n", good: "package a\n// the to-do list of the user\n"},
}

func TestGoFiles(t *testing.T) {
	files := goFiles(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			var all []finding
			for _, f := range files {
				all = append(all, r.check(f)...)
			}
			report(t, r.name, all)
		})
	}
}

// TestRulesCatch breaks every rule once: a rule that cannot fail proves nothing.
func TestRulesCatch(t *testing.T) {
	for _, r := range rules {
		for src, want := range map[string]bool{r.bad: true, r.good: false} {
			f, err := parse(r.file, []byte(src))
			if err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			if got := r.check(f); (len(got) > 0) != want {
				t.Errorf("%s: found %v in\n%s", r.name, got, src)
			}
		}
	}
}

func formatted(f *goFile) []finding {
	want, err := format.Source(f.src)
	if err != nil || bytes.Equal(want, f.src) {
		return nil
	}
	return []finding{{f.path, "is not formatted: make fmt"}}
}

func fileLines(f *goFile) []finding { return linesAbove(f, linesWanted) }

func fileLinesHard(f *goFile) []finding { return linesAbove(f, linesAtMost) }

func linesAbove(f *goFile, limit int) []finding {
	if n := bytes.Count(f.src, []byte("\n")); n > limit {
		return []finding{{f.path, fmt.Sprintf("has %d lines (want at most %d): split it by idea", n, limit)}}
	}
	return nil
}

func longFuncs(f *goFile) (found []finding) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		if n := f.line(fn.End()) - f.line(fn.Pos()) + 1 - tableLines(f, fn); n > funcLines {
			says := fmt.Sprintf("has %d lines (want at most %d)", n, funcLines)
			found = append(found, finding{f.path + "#" + fn.Name.Name, says})
		}
	}
	return found
}

// tableLines counts the lines of a test's tables: one reads a table by its rows.
func tableLines(f *goFile, fn *ast.FuncDecl) (n int) {
	if !f.test() {
		return 0
	}
	ast.Inspect(fn.Body, func(node ast.Node) bool {
		table, ok := node.(*ast.CompositeLit)
		if ok {
			n += f.line(table.End()) - f.line(table.Pos())
		}
		return !ok
	})
	return n
}

func longLines(f *goFile) (found []finding) {
	n := 0
	for line := range bytes.Lines(f.src) {
		n++
		if columns := utf8.RuneCount(bytes.TrimRight(line, "\n")); columns > columnsOfRow {
			says := fmt.Sprintf("line %d has %d columns (want at most %d)", n, columns, columnsOfRow)
			found = append(found, finding{f.path, says})
		}
	}
	return found
}

func inits(f *goFile) (found []finding) {
	if f.ast.Name.Name == "main" || f.test() {
		return nil
	}
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, at(f, fn.Pos(), "init runs before main has a say: take a value or use a table"))
		}
	}
	return found
}

// sleeps looks where tests live; engines' checks are tests, too. In a bubble of
// testing/synctest time passes by itself, so a sleep there is exact and takes none:
// packages that test in bubbles are left out.
func sleeps(f *goFile) (found []finding) {
	if inBubbles(path.Dir(f.path)) {
		return nil
	}
	if !f.test() && !strings.HasPrefix(f.path, "drivertest/") && !strings.HasPrefix(f.path, "internal/testenv/") {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
				found = append(found, at(f, s.Pos(), "time.Sleep in a test: wait for the condition instead, with a deadline"))
			}
		}
		return true
	})
	return found
}

// inBubbles reports whether a package's tests use testing/synctest.
func inBubbles(dir string) bool {
	files, err := textFiles()
	if err != nil {
		return false // which the test that walks them reports
	}
	for name, text := range files {
		test := path.Dir(name) == dir && strings.HasSuffix(name, "_test.go")
		if test && bytes.Contains(text, []byte(`"testing/synctest"`)) {
			return true
		}
	}
	return false
}

func goStatements(f *goFile) (found []finding) {
	if f.test() {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			found = append(found, at(f, g.Pos(), "a go statement: use sync.WaitGroup.Go, or list who waits for it"))
		}
		return true
	})
	return found
}

var silencer = regexp.MustCompile(`^//(nolint\S*|lint:(?:file-)?ignore \S+)(.*)`)

func silentLints(f *goFile) (found []finding) {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			m := silencer.FindStringSubmatch(c.Text)
			if m != nil && len(strings.Fields(strings.Trim(m[2], "/ "))) < 3 {
				found = append(found, at(f, c.Pos(), "%s gives no reason", m[1]))
			}
		}
	}
	return found
}

// The words are put together so that this file may name them.
var unfinishedWords = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|` +
	`(not (yet )?implement` + `ed|later to` + `day)`)

func unfinished(f *goFile) (found []finding) {
	n := 0
	for line := range bytes.Lines(f.src) {
		n++
		if m := unfinishedWords.Find(line); m != nil {
			found = append(found, finding{f.path, fmt.Sprintf("line %d says %q: finish it or document it", n, m)})
		}
	}
	return found
}
