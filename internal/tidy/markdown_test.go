package tidy

import (
	"flag"
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write the present code into the excerpts of Markdown files")

// markdown returns the Markdown files' lines by path.
func markdown(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	for name, text := range texts(t) {
		if path.Ext(name) == ".md" {
			files[name] = strings.Split(string(text), "\n")
		}
	}
	return files
}

var (
	link       = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	inlineCode = regexp.MustCompile("`[^`]*`")
	fence      = regexp.MustCompile("^ *(```+)(.*)$")
	origin     = regexp.MustCompile(`^<!-- from: (\S+)#(\S+) -->$`)
)

// TestMarkdownLinks follows every link to a file of the repository, and to a
// heading in it.
func TestMarkdownLinks(t *testing.T) {
	files := markdown(t)
	for name, lines := range files {
		for i, line := range outsideFences(lines) {
			for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, ""), -1) {
				if err := follow(files, name, m[1]); err != nil {
					t.Errorf("%s:%d: %v", name, i+1, err)
				}
			}
		}
	}
}

func follow(files map[string][]string, from, to string) error {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return nil
	}
	file, anchor, _ := strings.Cut(to, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
			return fmt.Errorf("link to %s: there is no %s", to, target)
		}
	}
	if anchor == "" {
		return nil
	}
	for _, line := range outsideFences(files[target]) {
		if heading := strings.TrimLeft(line, "#"); heading != line && slug(heading) == anchor {
			return nil
		}
	}
	return fmt.Errorf("link to %s: %s has no such heading", to, target)
}

// slug turns a heading into its anchor.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// outsideFences empties the lines of code blocks, so that line numbers stay.
func outsideFences(lines []string) []string {
	out := slices.Clone(lines)
	closing := ""
	for i, line := range out {
		m := fence.FindStringSubmatch(line)
		switch {
		case closing == "" && m != nil:
			closing = m[1]
			out[i] = ""
		case closing != "":
			if m != nil && m[1] == closing {
				closing = ""
			}
			out[i] = ""
		}
	}
	return out
}

// TestMarkdownExcerpts compares every block of Go code with the compiled code that
// it says it is from. The line before the block names it:
//
//	<!-- from: example_publish_test.go#ExampleBus_Publish -->
//
// The part after # is a function or another declaration of the file, or a region
// between two comments "// [name]". Of an example function only the body is shown.
// With -update the blocks are written anew.
func TestMarkdownExcerpts(t *testing.T) {
	for name, lines := range markdown(t) {
		fresh := renew(t, name, lines)
		if slices.Equal(fresh, lines) {
			continue
		}
		if !*update {
			t.Errorf("%s: a block of code is not what its file says: make docs", name)
			continue
		}
		text := []byte(strings.Join(fresh, "\n"))
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), text, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// renew returns a Markdown file with its excerpts as they should be.
func renew(t *testing.T, name string, lines []string) []string {
	t.Helper()
	var fresh []string
	for i := 0; i < len(lines); i++ {
		fresh = append(fresh, lines[i])
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		end := i + 1
		for end < len(lines) && strings.TrimSpace(lines[end]) != m[1] {
			end++
		}
		var from []string
		if i > 0 {
			from = origin.FindStringSubmatch(lines[i-1])
		}
		switch {
		case from != nil:
			code, err := excerpt(texts(t), from[1], from[2])
			if err != nil {
				t.Errorf("%s:%d: %v", name, i+1, err)
				return lines
			}
			fresh = append(fresh, code...)
		case strings.HasPrefix(m[2], "go"):
			t.Errorf("%s:%d: this Go code is compiled nowhere: take it from a file, see TestMarkdownExcerpts", name, i+1)
			fallthrough
		default:
			fresh = append(fresh, lines[i+1:min(end, len(lines))]...)
		}
		if end < len(lines) {
			fresh = append(fresh, lines[end])
		}
		i = end
	}
	return fresh
}

// excerpt returns the lines of a region or declaration without their common
// indentation.
func excerpt(files map[string][]byte, file, name string) ([]string, error) {
	src, ok := files[file]
	if !ok {
		return nil, fmt.Errorf("excerpt: there is no %s", file)
	}
	lines := strings.Split(string(src), "\n")
	if code := region(lines, name); code != nil {
		return dedent(code), nil
	}
	if path.Ext(file) != ".go" {
		return nil, fmt.Errorf("excerpt: %s has no region [%s]", file, name)
	}
	f, err := parse(file, src)
	if err != nil {
		return nil, err
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.Name != name {
				continue
			}
			first, last := f.line(d.Pos()), f.line(d.End())
			if strings.HasPrefix(name, "Example") {
				first, last = f.line(d.Body.Lbrace)+1, f.line(d.Body.Rbrace)-1
			}
			return dedent(withoutMarks(withoutOutput(lines[first-1 : last]))), nil
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if declares(s, name) {
					return dedent(lines[f.line(d.Pos())-1 : f.line(d.End())]), nil
				}
			}
		}
	}
	return nil, fmt.Errorf("excerpt: %s has neither a region nor a declaration %s", file, name)
}

func declares(s ast.Spec, name string) bool {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Name.Name == name
	case *ast.ValueSpec:
		return slices.ContainsFunc(s.Names, func(id *ast.Ident) bool { return id.Name == name })
	}
	return false
}

// region returns the lines between two marks "// [name]" or "# [name]", without
// the empty lines at its ends.
func region(lines []string, name string) []string {
	first := -1
	for i, line := range lines {
		if mark := strings.TrimSpace(line); mark != "// ["+name+"]" && mark != "# ["+name+"]" {
			continue
		}
		if first >= 0 {
			return trimEmpty(lines[first+1 : i])
		}
		first = i
	}
	return nil
}

func trimEmpty(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// withoutOutput leaves out what an example function is compared with.
func withoutOutput(lines []string) []string {
	for i, line := range lines {
		if trimmed := strings.TrimSpace(line); trimmed == "// Output:" || trimmed == "// Unordered output:" {
			return lines[:i]
		}
	}
	return lines
}

var mark = regexp.MustCompile(`^\s*(//|#) \[\w+\]$`)

func withoutMarks(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), mark.MatchString)
}

// dedent takes away the common indentation, and empty lines at both ends.
func dedent(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	depth := -1
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if d := len(line) - len(strings.TrimLeft(line, "\t")); depth < 0 || d < depth {
			depth = d
		}
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = line[min(max(depth, 0), len(line)):]
	}
	return out
}

func TestExcerpt(t *testing.T) {
	files := map[string][]byte{"a.go": []byte(`package a

// Name is not shown.
type Name struct {
	First string
}

func ExampleName() {
	// [part]
	if true {
		one()
	}
	// [part]

	// Output:
	// 1
}
`)}
	for name, want := range map[string]string{
		"Name":        "type Name struct {\n\tFirst string\n}",
		"part":        "if true {\n\tone()\n}",
		"ExampleName": "if true {\n\tone()\n}",
	} {
		got, err := excerpt(files, "a.go", name)
		if err != nil || strings.Join(got, "\n") != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := excerpt(files, "a.go", "absent"); err == nil {
		t.Error("an absent name is accepted")
	}
}
