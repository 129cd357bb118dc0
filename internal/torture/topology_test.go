package torture

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/redistest"
)

// TestRedisCluster tortures a cluster of three masters that have every acknowledged
// command on their disks: besides the workers, any of the masters is killed and started
// again.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	s := redistest.StartCluster(t, 3, "appendonly yes", "appendfsync always", "save \"\"")
	servers := map[string]Server{}
	for i, n := range s.Nodes() {
		servers[fmt.Sprint("node", i+1)] = n
	}
	result := tortured(t, timed(t, Config{
		URL: s.URL(), Load: Hard, Command: buildWorker(t, ""),
		Faults: func(c *Cluster) []Fault {
			faults := DefaultFaults(c)
			for name, n := range servers {
				f := c.ServerFault(n, 1)
				f.Targets = []string{name}
				f.Name = name
				faults = append(faults, f)
			}
			slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) }) // the seed decides
			return faults
		},
	}))
	for _, name := range result.Broken() {
		t.Errorf("check %s found %d violations", name, result.Violations[name])
	}
	if weak := result.Weak(); weak != "" {
		t.Error(weak)
	}
	killed := 0
	for name := range servers {
		killed += result.Faults[name]
	}
	if killed == 0 {
		t.Error("no master was killed, which proves nothing")
	}
}

// TestRedisFailover kills the master behind a sentinel time and again. With wait=1 an
// acknowledged event is on the replica, which takes over: nothing is lost, no effect
// happens twice, and no order is broken. What is not waited for may go back: progress of
// groups, and events whose publisher has no answer yet, which a group may have handled
// by then; their numbers are given again, beside another time.
func TestRedisFailover(t *testing.T) {
	t.Parallel()
	durable := []string{"appendonly yes", "appendfsync always", "save \"\""}
	master := redistest.Start(t, durable...)
	replica := redistest.StartReplica(t, master, durable...)
	sentinel := redistest.StartSentinel(t, master, 1, "sentinel down-after-milliseconds "+redistest.MasterName+" 1000")
	x := &failover{servers: []*redistest.Server{master, replica}, wait: func(what string, done func() bool) {
		eventually(t, what, time.Minute, done)
	}}
	config := timed(t, Config{
		URL:  sentinel.URL() + "?wait=1&master_set=" + redistest.MasterName,
		Load: Hard, Command: buildWorker(t, ""), For: 15 * time.Second,
		Faults: func(c *Cluster) []Fault {
			return append(DefaultFaults(c), Fault{
				Name: "failover", Nemesis: x, Targets: []string{"master"}, Weight: 6, Min: time.Second, Max: 2 * time.Second,
			})
		},
	})
	result := tortured(t, config)
	for _, name := range result.Broken() {
		if name != "regress" && name != "positions" {
			t.Errorf("check %s found %d violations", name, result.Violations[name])
		}
	}
	if result.Faults["failover"] == 0 {
		t.Error("no master was killed, which proves nothing")
	}
}

// failover kills the master, and brings it back as the replica of the one that took over.
type failover struct {
	servers []*redistest.Server
	dead    int // the index of the killed one
	wait    func(what string, done func() bool)
}

func (*failover) Describe() string { return "kill -9 of the master, whose replica takes over" }

func (x *failover) Start(string) error {
	x.dead = slices.IndexFunc(x.servers, isMaster)
	if x.dead < 0 {
		return fmt.Errorf("no server is the master")
	}
	x.servers[x.dead].Kill()
	return nil
}

func (x *failover) Stop(string) error {
	old, next := x.servers[x.dead], x.servers[1-x.dead]
	x.wait("the replica does not take over", func() bool { return isMaster(next) })
	host, port, err := net.SplitHostPort(next.Addr())
	if err != nil {
		return err
	}
	old.Restart("replicaof " + host + " " + port)
	x.wait("the old master does not follow the new one", func() bool {
		info, err := old.Command("INFO", "replication")
		return err == nil && strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
	})
	return nil
}

func isMaster(s *redistest.Server) bool {
	role, err := s.Command("ROLE")
	return err == nil && strings.HasPrefix(role, "master")
}
