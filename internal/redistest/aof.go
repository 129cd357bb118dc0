package redistest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AOFMark is a place in a server's append-only file.
type AOFMark struct {
	file string
	size int64
}

// MarkAOF remembers how far the server has written its append-only file. With
// "appendfsync always" that is at least every command that was answered before.
func (s *Server) MarkAOF() AOFMark {
	s.TB.Helper()
	m, err := s.markAOF()
	if err != nil {
		s.TB.Errorf("%s: append-only file: %v", s.Name(), err)
	}
	return m
}

// CutAOF takes away what the server, which has to be down, wrote to its append-only
// file after the mark, as if the disk had lost it. It returns the number of bytes.
func (s *Server) CutAOF(m AOFMark) int64 {
	s.TB.Helper()
	n, err := s.cutAOF(m)
	if err != nil {
		s.TB.Errorf("%s: cut the append-only file: %v", s.Name(), err)
	}
	return n
}

func (s *Server) markAOF() (AOFMark, error) {
	file, err := s.aof()
	if err != nil {
		return AOFMark{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return AOFMark{}, err
	}
	return AOFMark{file, info.Size()}, nil
}

func (s *Server) cutAOF(m AOFMark) (int64, error) {
	if s.PID() != 0 {
		return 0, errors.New("the server runs")
	}
	now, err := s.markAOF()
	if err != nil {
		return 0, err
	}
	if now.file != m.file {
		return 0, errors.New("the server has rewritten it since the mark")
	}
	return now.size - m.size, os.Truncate(m.file, m.size)
}

// aof returns the file that commands are appended to. Before Redis 7 there was one;
// since then a manifest lists what was rewritten and what came after that.
func (s *Server) aof() (string, error) {
	manifests, err := filepath.Glob(filepath.Join(s.Dir(), "*", "*.manifest"))
	if err != nil {
		return "", err
	}
	if len(manifests) == 0 {
		return filepath.Join(s.Dir(), "appendonly.aof"), nil
	}
	text, err := os.ReadFile(manifests[0])
	if err != nil {
		return "", err
	}
	last := ""
	for line := range strings.Lines(string(text)) {
		var file, kind string
		var seq int
		if _, err := fmt.Sscanf(line, "file %s seq %d type %s", &file, &seq, &kind); err != nil {
			return "", fmt.Errorf("%s says %q: %w", manifests[0], line, err)
		}
		if kind == "i" { // the later, the further down
			last = filepath.Join(filepath.Dir(manifests[0]), file)
		}
	}
	if last == "" {
		return "", fmt.Errorf("%s lists no file that is appended to", manifests[0])
	}
	return last, nil
}
