package deedredis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// server is what a node says of itself. Fields that it keeps to itself are empty.
type server struct {
	addr    string
	info    map[string]string // INFO
	config  map[string]string // CONFIG GET, empty where that is not allowed
	replica bool
}

// minVersion is the first that knows what the scripts say about themselves.
const minVersion = 7

// The first versions with WAITAOF.
const aofMajor, aofMinor = 7, 2

// configs are the settings that decide what an accepted event survives.
var configs = []string{"appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "min-replicas-to-write"}

// ask looks at a node. A managed server often forbids CONFIG.
func ask(ctx context.Context, addr string, node rueidis.Client) (server, error) {
	s := server{addr: addr}
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return s, fmt.Errorf("ask %s what it is: %w", addr, explain(err))
	}
	s.info = fieldsOf(text)
	s.replica = s.info["role"] == "slave"
	s.config, _ = node.Do(ctx, node.B().ConfigGet().Parameter(configs...).Build()).AsStrMap()
	return s, nil
}

// fieldsOf reads lines of the form NAME:VALUE, the first of which may say what they are.
func fieldsOf(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(strings.TrimPrefix(text, "txt:")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// version returns the first two numbers of the version.
func (s server) version() (major, minor int) {
	fmt.Sscanf(s.info["redis_version"], "%d.%d", &major, &minor)
	return major, minor
}

// usable says why deed cannot work with a node.
func (s server) usable(set *settings) error {
	major, minor := s.version()
	switch {
	case major < minVersion:
		return fmt.Errorf("%w: %s is Redis %s (deed wants %d.0 or later, or Valkey)",
			driver.ErrRefused, s.addr, s.info["redis_version"], minVersion)
	case set.synced && (major < aofMajor || major == aofMajor && minor < aofMinor):
		return fmt.Errorf("%w: %s is Redis %s, which has no WAITAOF (leave waitaof out of the URL and set appendfsync to "+
			"always, or use Redis %d.%d)", driver.ErrRefused, s.addr, s.info["redis_version"], aofMajor, aofMinor)
	case set.waits() && s.info["redis_mode"] == "cluster":
		return fmt.Errorf("%w: %s is a node of a cluster, where wait and waitaof cannot be kept "+
			"(leave them out of the URL and set appendfsync to always)", driver.ErrRefused, s.addr)
	case s.replica:
		return fmt.Errorf("%w: %s is a replica (connect to its master %s:%s, or to a sentinel with master_set)",
			driver.ErrRefused, s.addr, s.info["master_host"], s.info["master_port"])
	case s.evicts():
		return fmt.Errorf("%w: %s removes keys when its memory is full: maxmemory-policy is %s (set it to noeviction)",
			driver.ErrRefused, s.addr, s.policy())
	}
	return nil
}

func (s server) policy() string {
	if p := s.config["maxmemory-policy"]; p != "" {
		return p
	}
	return s.info["maxmemory_policy"]
}

// evicts tells whether the server removes keys of deed's to make room.
func (s server) evicts() bool {
	return s.info["maxmemory"] != "0" && strings.HasPrefix(s.policy(), "allkeys-")
}

// forgets tells whether the server removes keys that have an end, as those of id windows
// have, to make room.
func (s server) forgets() bool {
	return s.info["maxmemory"] != "0" && strings.HasPrefix(s.policy(), "volatile-")
}

// class returns what an accepted event survives, and the setting that would make it
// more.
func (s server) class(synced bool) (driver.Class, string) {
	if s.info["aof_enabled"] != "1" && s.config["appendonly"] != "yes" {
		return driver.Memory, "appendonly is no: set it to yes, and appendfsync to always"
	}
	switch fsync := s.config["appendfsync"]; {
	case fsync == "always" || synced:
		return driver.Power, "one server has one copy: Redis promises nothing about replicas at a failover"
	case fsync == "":
		return driver.Process, "the server does not tell its appendfsync: allow CONFIG GET, or add waitaof=1 (Redis 7.2)"
	default:
		return driver.Process, "appendfsync is " + fsync + ": set it to always, or add waitaof=1 to the URL (Redis 7.2)"
	}
}

// inspect looks at all masters and returns what the weakest of them keeps.
func (c *Conn) inspect(ctx context.Context) (driver.Class, string, error) {
	class, setting := driver.Quorum, ""
	masters := 0
	for addr, node := range c.client.Nodes() {
		s, err := ask(ctx, addr, node)
		if err == nil && s.replica && c.cluster {
			continue // masters answer for their replicas
		}
		if err == nil {
			err = s.usable(&c.settings)
		}
		if err != nil {
			return 0, "", err
		}
		masters++
		if s.forgets() {
			c.forgets = s.policy()
		}
		if k, what := s.class(c.settings.synced); k < class {
			class, setting = k, what
		}
	}
	if masters == 0 {
		return 0, "", fmt.Errorf("%w: no master is there", driver.ErrNotStored)
	}
	return class, setting, nil
}

// scripting finds out whether the user may run scripts on the keys of the prefix.
func (c *Conn) scripting(ctx context.Context) error {
	if _, _, err := c.liveSeats(ctx, "any", "any"); err != nil { // it need not be there
		return fmt.Errorf("run a script on the keys %s:*: %w", c.keys.prefix, explain(err))
	}
	return nil
}
