package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// findModules returns the directories of all modules below root, root first. The
// pattern ./... does not reach nested ones.
func findModules(root string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.Name() == "go.mod" {
			dirs = append(dirs, filepath.Dir(path))
		}
		return nil
	})
	return dirs, err
}

// hasPackages reports whether a module holds Go code; tools/ may hold none.
func hasPackages(ctx context.Context, dir string) (bool, error) {
	out, err := command(ctx, dir, "list", "-e", "./...").Output()
	if err != nil {
		return false, fmt.Errorf("go list in %s: %w", dir, err)
	}
	return len(bytes.TrimSpace(out)) > 0, nil
}

func goEnv(ctx context.Context, name string) (string, error) {
	out, err := command(ctx, ".", "env", name).Output()
	if err != nil {
		return "", fmt.Errorf("go env %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
