package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// banned are words that the glossary has another word for.
var banned = map[string]string{
	"emit": "publish", "emits": "publish", "emitter": "publisher",
	"dispatch": "handle", "dispatcher": "run loop", "dispatches": "handle",
	"produce": "publish", "produces": "publish",
	"nack": "settle", "requeue": "park or redrive", "reprocess": "redrive or replay", "quarantine": "dead letter",
	"mgr": "a noun that says what it does", "manager": "a noun that says what it does",
	"util": "a noun that says what it does", "utils": "a noun that says what it does",
	"helpers": "a noun that says what it does",
}

// bannedPackages say nothing about what is inside.
var bannedPackages = []string{
	"util", "utils", "common", "base", "types", "helpers", "models", "manager", "misc", "shared",
}

func bannedWords(f *goFile) (found []finding) {
	check := func(id *ast.Ident) {
		for _, word := range words(id.Name) {
			if better, ok := banned[word]; ok {
				found = append(found, at(f, id.Pos(), "%s: the glossary's word for %s is: %s", id.Name, word, better))
			}
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			check(n.Name)
		case *ast.TypeSpec:
			check(n.Name)
		case *ast.ValueSpec:
			for _, id := range n.Names {
				check(id)
			}
		case *ast.Field:
			for _, id := range n.Names {
				check(id)
			}
		case *ast.AssignStmt:
			for _, x := range n.Lhs {
				if id, ok := x.(*ast.Ident); ok && n.Tok == token.DEFINE {
					check(id)
				}
			}
		}
		return true
	})
	return found
}

// words splits an identifier at its capitals: "emitAllURLs" is emit, all, urls.
func words(name string) []string {
	var out []string
	start := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i < len(runes) && (!unicode.IsUpper(runes[i]) || unicode.IsUpper(runes[i-1])) && runes[i] != '_' {
			continue
		}
		if word := strings.Trim(string(runes[start:i]), "_"); word != "" {
			out = append(out, strings.ToLower(word))
		}
		start = i
	}
	return out
}

func TestPackageNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		if dir := path.Dir(f.path); !seen[dir] && slices.Contains(bannedPackages, name) {
			t.Errorf("%s: package %s says nothing about what it is for", f.path, name)
			seen[dir] = true
		}
	}
}
