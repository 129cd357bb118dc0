// Command enginesdoc writes docs/engines.md, and the tables of engines in docs/guarantees.md
// and README.md: what each engine promises, asked of the engines themselves. Run it from
// anywhere in the repository:
//
//	go run ./internal/enginesdoc
//
// Its test fails while a file is out of date.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "enginesdoc:", err)
		os.Exit(1)
	}
}

func write() error {
	dir, err := os.MkdirTemp("", "enginesdoc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	written, err := pages(context.Background(), dir)
	for path, page := range written {
		err = errors.Join(err, os.WriteFile(path, page, 0o644))
	}
	return err
}

// pages returns what belongs into each file, by path. dir is for the files of engines.
func pages(ctx context.Context, dir string) (map[string][]byte, error) {
	asked, err := open(ctx, dir)
	if err != nil {
		return nil, err
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{filepath.Join(root, "docs", "engines.md"): document(asked)}
	for path, table := range map[string]func([]opened) (string, error){
		filepath.Join(root, "docs", "guarantees.md"): guaranteesTable,
		filepath.Join(root, "README.md"):             readmeTable,
	} {
		text, err := table(asked)
		if err != nil {
			return nil, err
		}
		page, err := os.ReadFile(path)
		if err == nil {
			page, err = put(page, text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out[path] = page
	}
	return out, nil
}

// repository returns its root. It is found from this source file, so that the working
// directory does not matter.
func repository() (string, error) {
	_, source, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the source file is not known")
	}
	return filepath.Join(filepath.Dir(source), "..", ".."), nil
}
