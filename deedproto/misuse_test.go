package deedproto_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMisuseDoesNotCompile type-checks declarations that are wrong, and some that are
// right to see that the others fail for their own reason.
func TestMisuseDoesNotCompile(t *testing.T) {
	const file = `package a
import (
	"github.com/deedgo/deed"
	"github.com/deedgo/deed/deedproto"
	"github.com/deedgo/deed/deedproto/testdata/orderspb"
	"google.golang.org/protobuf/proto"
)
type plain struct{}
var _ proto.Message = (*orderspb.Item)(nil)
var topic = deed.NewTopic("orders", nil)
var _ = deedproto.`
	fset := token.NewFileSet()
	conf := types.Config{Importer: compiled(t, fset, ".", "./testdata/orderspb")}
	for call, compiles := range map[string]bool{
		`NewType(topic, "a", 1, func(*orderspb.Item) string { return "" })`: true,
		`NewType[orderspb.Item](topic, "a", 1, nil)`:                        true,
		`NewType(topic, "a", 1, func(orderspb.Item) string { return "" })`:  false,
		`NewType(topic, "a", 1, func(*plain) string { return "" })`:         false,
		`NewType(topic, "a", 1, func(proto.Message) string { return "" })`:  false,
		`NewType[*orderspb.Item](topic, "a", 1, nil)`:                       false,
		`NewType[plain](topic, "a", 1, nil)`:                                false,
	} {
		parsed, err := parser.ParseFile(fset, "a.go", file+call, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conf.Check("a", fset, []*ast.File{parsed}, nil); (err == nil) != compiles {
			t.Errorf("%s: compiles %v, want %v: %v", call, err == nil, compiles, err)
		}
	}
}

// compiled imports what the go command has built of packages and their dependencies.
func compiled(t *testing.T, fset *token.FileSet, packages ...string) types.Importer {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, packages...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[name] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}
