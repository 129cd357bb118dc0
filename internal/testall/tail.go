package main

import (
	"fmt"
	"strings"
)

// tail keeps the end of a test's output, which is where it says what went wrong.
type tail struct {
	lines   []string
	dropped int
}

const tailLines = 2000

func (t *tail) add(line string) {
	if len(t.lines) == tailLines {
		t.dropped += tailLines / 2
		t.lines = append(t.lines[:0], t.lines[tailLines/2:]...)
	}
	t.lines = append(t.lines, line)
}

func (t *tail) text() string {
	text := strings.Join(t.lines, "")
	if t.dropped > 0 {
		text = fmt.Sprintf("(%d lines before)\n", t.dropped) + text
	}
	return text
}
