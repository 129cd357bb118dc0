package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// undocumented finds exported declarations without a comment.
func undocumented(f *goFile) (found []finding) {
	if f.test() || f.ast.Name.Name == "main" {
		return nil
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				found = append(found, at(f, d.Pos(), "%s is exported and has no comment", d.Name.Name))
			}
		case *ast.GenDecl:
			found = append(found, undocumentedSpecs(f, d)...)
		}
	}
	return found
}

// undocumentedSpecs accepts one comment for a group of constants or variables.
func undocumentedSpecs(f *goFile, d *ast.GenDecl) (found []finding) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
				found = append(found, at(f, s.Pos(), "%s is exported and has no comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			if d.Tok == token.IMPORT || d.Doc != nil || s.Doc != nil || s.Comment != nil {
				continue
			}
			for _, id := range s.Names {
				if id.IsExported() {
					found = append(found, at(f, s.Pos(), "%s is exported and has no comment", id.Name))
				}
			}
		}
	}
	return found
}

// exportedReceiver reports whether a user can see the method at all.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	x := d.Recv.List[0].Type
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test() {
			continue
		}
		dir := path.Dir(f.path)
		commented[dir] = commented[dir] || f.ast.Doc != nil
		if f.ast.Doc == nil {
			continue
		}
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command "
		}
		if text := f.ast.Doc.Text(); !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment begins %.20q, want %q", f.path, text, want)
		}
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s: no file has a package comment that says what it is for", dir)
		}
	}
}
