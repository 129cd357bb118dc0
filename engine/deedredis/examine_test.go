package deedredis

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// examine returns the findings as lines: "ok memory: 1.00M used of at most 8.00M".
func examine(t *testing.T, url string) []string {
	t.Helper()
	all, err := Examine(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range all {
		if f.Result != driver.Good && f.Advice == "" && f.What != "cluster" {
			t.Errorf("no advice: %+v", f)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", f.Result, f.What, f.Value))
	}
	return lines
}

// has reports the wanted beginnings of lines that are missing.
func has(t *testing.T, lines []string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no finding %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestExamineGood(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "appendonly yes", "appendfsync always", "maxmemory 100mb", restricted(t))
	lines := examine(t, as(t, s, "deed", "geheim"))
	has(t, lines, "ok server: Redis 7.", "ok role: master, without replicas",
		"ok append-only file: on, appendfsync always", "ok memory: ", "ok eviction: noeviction", "ok scripts: allowed")
	for _, line := range lines {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("all is well, but: %s", line)
		}
	}
}

// What Open refuses is told all the same, with all else that is wrong.
func TestExamineBadServers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "maxmemory 100mb", "maxmemory-policy allkeys-lru", "min-replicas-to-write 0")
	replica := redistest.StartReplica(t, s)
	command(t, s, "WAIT", "1", "30000") // until the master takes it for one
	has(t, examine(t, s.URL()), "note role: master, 1 replica", "note append-only file: off: ",
		"wrong eviction: allkeys-lru: at its bound the server removes whole logs")
	has(t, examine(t, replica.URL()), "wrong role: a replica of 127.0.0.1:", "note memory: ")
	command(t, s, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl", "maxmemory", "1")
	has(t, examine(t, s.URL()), "note eviction: volatile-ttl: at its bound the server forgets the ids", "wrong memory: ")
	command(t, s, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "maxmemory", "0")
	has(t, examine(t, s.URL()), "note eviction: allkeys-lfu, which would remove whole logs, if maxmemory were set")

	command(t, s, "ACL", "SETUSER", "noscripts", "on", ">geheim", "~*", "&*", "+@all", "-@scripting", "-config")
	command(t, s, "CONFIG", "SET", "appendonly", "yes")
	has(t, examine(t, as(t, s, "noscripts", "geheim")), "wrong scripts: ",
		"ok append-only file: on, appendfsync not known: CONFIG GET is not allowed")

	if _, err := Examine(t.Context(), "redis://"+s.Addr()+"?nosuch=1"); err == nil {
		t.Error("a bad URL is examined")
	}
}

func TestExamineFailedSnapshot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	if err := os.Mkdir(filepath.Join(s.Dir(), "dump.rdb"), 0o700); err != nil { // where the snapshot goes
		t.Fatal(err)
	}
	command(t, s, "BGSAVE")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); pause() {
		if strings.Contains(command(t, s, "INFO", "persistence"), "rdb_last_bgsave_status:err") {
			break
		}
	}
	has(t, examine(t, s.URL()), "wrong persistence: the last snapshot failed: rdb_last_bgsave_status is err")
}

func TestExamineTopics(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := open(t, s.URL())
	for _, topic := range []string{"fine", "future", "full", "cut", "marker"} {
		if err := put(t, c, topic, 3); err != nil {
			t.Fatal(err)
		}
	}
	command(t, s, "XADD", "deed:{future:0}", "9999999999999-1", "d", "x")
	command(t, s, "XADD", "deed:{full:0}", "18446744073709551615-18446744073709551615", "d", "x")
	command(t, s, "DEL", "deed:{cut:0}")
	command(t, s, "DEL", "deed:{marker:0}:meta")
	lines := examine(t, s.URL())
	has(t, lines, "wrong topic future: partition 0 ends at 9999999999999-1, which is 2286-11-20",
		"wrong topic full: partition 0 ends at 18446744073709551615-18446744073709551615, where reading stops",
		"wrong topic cut: the log of partition 0 is gone, which had 3 events",
		"wrong topic marker: partition 0 has no marker")
	for _, line := range lines {
		if strings.Contains(line, "fine") {
			t.Errorf("nothing is wrong with it: %s", line)
		}
	}
}

func TestExamineCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3)
	has(t, examine(t, c.URL()), "ok cluster: ok, 16384 of 16384 slots served, 3 masters")
	gone := c.Nodes()[2]
	gone.Kill()
	has(t, examine(t, c.URL()), "wrong server: ask "+gone.Addr()+" what it is: ", "ok server: Redis ")
}

// A server that removes keys with an end, at its bound, cannot keep an id window.
func TestWindowWantsServerThatForgetsNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "maxmemory 100mb", "maxmemory-policy volatile-lru")
	c := open(t, s.URL())
	_, err := c.CreateTopic(t.Context(), "x", driver.TopicSettings{Dedupe: 1e9})
	if err == nil || !strings.Contains(err.Error(), "maxmemory-policy is volatile-lru (set it to noeviction)") {
		t.Errorf("%v", err)
	}
	if err := put(t, c, "x", 1); err != nil {
		t.Errorf("without a window: %v", err)
	}
}
