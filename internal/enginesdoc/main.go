// Command enginesdoc writes docs/engines.md: what each engine promises, asked of the
// engines themselves. Run it from anywhere in the repository:
//
//	go run ./internal/enginesdoc
//
// Its test fails while the file is out of date.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	path, err := target()
	if err == nil {
		err = write(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "enginesdoc:", err)
		os.Exit(1)
	}
}

func write(path string) error {
	dir, err := os.MkdirTemp("", "enginesdoc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	page, err := document(context.Background(), dir)
	if err != nil {
		return err
	}
	return os.WriteFile(path, page, 0o644)
}

// target returns the path of docs/engines.md. It is found from this source file, so
// that the working directory does not matter.
func target() (string, error) {
	_, source, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the source file is not known")
	}
	return filepath.Join(filepath.Dir(source), "..", "..", "docs", "engines.md"), nil
}
