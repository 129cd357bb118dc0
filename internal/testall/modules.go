package main

import (
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

// alone is the package whose tests start many processes and watch the clock. Beside
// other packages' tests it would test those.
const alone = "/internal/torture"

// findPackages returns a module's packages in the order they are tested: all
// together, then each that has to be alone. There may be none, as in tools/.
func findPackages(ctx context.Context, dir string, patterns []string) ([][]string, error) {
	out, err := command(ctx, dir, append([]string{"list", "-e"}, patterns...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	var together []string
	var apart [][]string
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasSuffix(pkg, alone) {
			apart = append(apart, []string{pkg})
		} else {
			together = append(together, pkg)
		}
	}
	if len(together) == 0 {
		return apart, nil
	}
	return append([][]string{together}, apart...), nil
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
