//go:build unix

package cli_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/redistest"
)

// Three processes share a group; one is killed while all write to slow readers.
// Nothing is lost, and each key's order is kept.
func TestSubProcessesShareAndOneIsKilled(t *testing.T) {
	t.Run("file", shareAndKill)
	t.Run("redis", func(t *testing.T) {
		t.Setenv("DEED_URL", redistest.Start(t).URL())
		shareAndKill(t)
	})
}

func shareAndKill(t *testing.T) {
	const events, keys = 3000, 40
	dir := t.TempDir()
	mustRun(t, dir, generate(events, keys, 10), "pub", "t", "--key", "/key")

	type member struct {
		kill func() error
		wait func() (int, int64)
		log  *lineLog
		err  bytes.Buffer
	}
	var members [3]*member
	for i := range members {
		m := &member{}
		cmd := deedCmd(dir, nil, "sub", "t", "--group", "g", "--idle", "2s")
		cmd.Stderr = &m.err
		out := startPiped(t, cmd)
		m.log = readSlowly(out, 5*time.Millisecond)
		m.kill = cmd.Process.Kill
		m.wait = func() (int, int64) { return end(t, cmd) }
		members[i] = m
	}
	if !eventually(func() bool {
		for _, m := range members {
			if m.log.count() < 10 {
				return false
			}
		}
		return true
	}) {
		t.Error("the three do not share the topic")
	}
	members[0].kill()
	members[0].wait()
	for _, m := range members[1:] {
		if code, _ := m.wait(); code != 0 {
			t.Errorf("a survivor ended with %d: %s", code, m.err.String())
		}
	}

	seen := map[int]bool{}
	survivors := map[int]bool{}
	for i, m := range members {
		last := map[string]int{}
		for _, line := range m.log.all() {
			v := decodeLine(t, line)
			if before, ok := last[v.Key]; ok && v.N <= before {
				t.Errorf("member %d wrote %d of key %s after %d", i, v.N, v.Key, before)
			}
			last[v.Key] = v.N
			if i > 0 && survivors[v.N] {
				t.Errorf("event %d was written by two living members", v.N)
			}
			survivors[v.N] = survivors[v.N] || i > 0
			seen[v.N] = true
		}
		t.Logf("member %d wrote %d lines", i, len(m.log.all()))
	}
	if len(seen) != events {
		t.Errorf("%d events were seen (want %d)", len(seen), events)
	}
	mustRun(t, dir, nil, "lag", "--max-events", "0", "--group", "g")

	again := mustRun(t, dir, nil, "sub", "t", "--group", "other", "--count", strconv.Itoa(events))
	if n := strings.Count(again, "\n"); n != events {
		t.Errorf("a second group sees %d events (want %d)", n, events)
	}
}

// Processes publish to one file at once and others look in: nobody is refused, and
// every accepted event is there.
func TestProcessesOnOneFile(t *testing.T) {
	t.Parallel()
	const publishers, events = 4, 2000
	dir := t.TempDir()
	mustRun(t, dir, nil, "topics", "create", "t")
	done := make(chan result, publishers)
	for range publishers {
		go func() { done <- finish(t, deedCmd(dir, generate(events, 7, 10), "pub", "t", "--key", "/key")) }()
	}
	for range 5 {
		mustRun(t, dir, nil, "topics", "-o", "json")
	}
	for range publishers {
		(<-done).want(t, 0, `^2,000 published, 0 already there$`)
	}
	if n := strings.Count(mustRun(t, dir, nil, "cat", "t"), "\n"); n != publishers*events {
		t.Errorf("%d events are stored (want %d)", n, publishers*events)
	}
}
