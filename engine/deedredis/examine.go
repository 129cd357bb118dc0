package deedredis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// examination gathers what is found.
type examination struct{ findings []driver.Finding }

func (x *examination) add(r driver.Result, what, value, advice string) {
	x.findings = append(x.findings, driver.Finding{Result: r, What: what, Value: value, Advice: advice})
}

// Examine looks at the server that url names, and tells what it is and is not set up to
// keep. It changes nothing. Where [Open] refuses a server, Examine says all that is
// wrong with it; its error means that the server could not be asked.
func Examine(ctx context.Context, url string) ([]driver.Finding, error) {
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deedredis: %w", err)
	}
	client, err := connect(ctx, s.client)
	if err != nil {
		return nil, connectError(s, err)
	}
	defer client.Close()
	c := newConn(s, client)
	x := &examination{}
	if err := c.examineServers(ctx, x); err != nil {
		return nil, c.fail("examine", err)
	}
	if err := c.scripting(ctx); err != nil {
		x.add(driver.Wrong, "scripts", err.Error(),
			"deed does everything atomic in scripts; they have to be allowed, as by deploy/redis/deed.acl")
		return x.findings, nil
	}
	x.add(driver.Good, "scripts", "allowed", "")
	if err := c.examineTopics(ctx, x); err != nil {
		x.add(driver.Wrong, "topics", explain(err).Error(), "look again when that is mended")
	}
	return x.findings, nil
}

// examineServers looks at all nodes, in order of their addresses.
func (c *Conn) examineServers(ctx context.Context, x *examination) error {
	nodes := c.client.Nodes()
	addrs := make([]string, 0, len(nodes))
	for addr := range nodes {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	for _, addr := range addrs {
		s, err := ask(ctx, addr, nodes[addr])
		if err != nil && c.cluster {
			x.add(driver.Wrong, "server", err.Error(), "partitions that lie there stand still until it is back")
			continue
		}
		if err != nil {
			return err
		}
		if s.replica && c.cluster {
			continue
		}
		s.examine(x)
		if c.cluster {
			examineCluster(ctx, x, nodes[addr])
		}
	}
	return nil
}

// examine tells how a server is set up and how it is.
func (s server) examine(x *examination) {
	name := "Redis " + s.info["redis_version"]
	if v := s.info["valkey_version"]; v != "" {
		name = "Valkey " + v
	}
	name += ", " + s.info["redis_mode"] + ", at " + s.addr
	if major, _ := s.version(); major < minVersion {
		x.add(driver.Wrong, "server", name, fmt.Sprintf("deed wants Redis %d.0 or later, or Valkey", minVersion))
	} else {
		x.add(driver.Good, "server", name, "")
	}
	if s.replica {
		x.add(driver.Wrong, "role", fmt.Sprintf("a replica of %s:%s, which takes no events", s.info["master_host"],
			s.info["master_port"]), "connect to the master, or to its sentinels with master_set")
	} else {
		s.examineReplicas(x)
	}
	s.examinePersistence(x)
	s.examineMemory(x)
}

func (s server) examineReplicas(x *examination) {
	n := s.info["connected_slaves"]
	behind := 0
	for i := range 100 {
		state, ok := s.info["slave"+strconv.Itoa(i)]
		if !ok {
			break
		}
		if !strings.Contains(state, "state=online") {
			behind++
		}
	}
	value := "master, " + n + " replicas"
	switch {
	case n == "0":
		value = "master, without replicas"
	case n == "1":
		value = "master, 1 replica"
	}
	if least := s.config["min-replicas-to-write"]; least != "" && least != "0" {
		value += ", writes want " + least
	}
	switch {
	case behind > 0:
		x.add(driver.Wrong, "role", fmt.Sprintf("%s, %d of them not in step", value, behind),
			"a failover to such a replica loses events")
	case n != "0":
		x.add(driver.Noted, "role", value, "a failover may lose events that were accepted just before; "+
			"the outbox publishes them again, and wait=1 in the URL waits for a replica")
	default:
		x.add(driver.Good, "role", value, "")
	}
}

func (s server) examinePersistence(x *examination) {
	fsync := cmp.Or(s.config["appendfsync"], "not known: CONFIG GET is not allowed")
	if s.info["aof_enabled"] != "1" {
		x.add(driver.Noted, "append-only file", "off: what was accepted since the last snapshot ends with the server",
			"set appendonly to yes, and appendfsync to always or everysec")
	} else {
		x.add(driver.Good, "append-only file", "on, appendfsync "+fsync, "")
	}
	for _, state := range []struct{ field, what string }{
		{"aof_last_write_status", "the last write to the append-only file"},
		{"aof_last_bgrewrite_status", "the last rewrite of the append-only file"},
		{"rdb_last_bgsave_status", "the last snapshot"},
	} {
		if got := s.info[state.field]; got != "" && got != "ok" {
			x.add(driver.Wrong, "persistence", state.what+" failed: "+state.field+" is "+got,
				"the server's log says why; the disk may be full, or its folder not writable")
		}
	}
}

// memoryHigh is the share of maxmemory from which the server counts as nearly full.
const memoryHigh = 0.9

func (s server) examineMemory(x *examination) {
	used, _ := strconv.ParseFloat(s.info["used_memory"], 64)
	most, _ := strconv.ParseFloat(s.info["maxmemory"], 64)
	value := s.info["used_memory_human"] + " used of at most " + s.info["maxmemory_human"]
	switch {
	case most == 0:
		x.add(driver.Noted, "memory", s.info["used_memory_human"]+" used, without a bound",
			"set maxmemory below what the machine has, or the kernel ends the server when that is used up")
	case used >= memoryHigh*most:
		x.add(driver.Wrong, "memory", value,
			"publishing fails at the bound: raise maxmemory, let groups get on, or shorten keep")
	default:
		x.add(driver.Good, "memory", value, "")
	}
	const advice = "set maxmemory-policy to noeviction"
	switch policy := s.policy(); {
	case s.evicts():
		x.add(driver.Wrong, "eviction", policy+": at its bound the server removes whole logs", advice)
	case strings.HasPrefix(policy, "allkeys-"):
		x.add(driver.Noted, "eviction", policy+", which would remove whole logs, if maxmemory were set", advice)
	case s.forgets():
		x.add(driver.Noted, "eviction", policy+": at its bound the server forgets the ids of dedupe windows", advice)
	default:
		x.add(driver.Good, "eviction", policy, "")
	}
}

// examineCluster tells whether the cluster is whole, as a node sees it.
func examineCluster(ctx context.Context, x *examination, node rueidis.Client) {
	text, err := node.Do(ctx, node.B().ClusterInfo().Build()).ToString()
	if err != nil {
		x.add(driver.Noted, "cluster", "its state is not known: "+err.Error(), "")
		return
	}
	info := fieldsOf(text)
	value := fmt.Sprintf("%s, %s of 16384 slots served, %s masters",
		info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"])
	if info["cluster_state"] != "ok" {
		x.add(driver.Wrong, "cluster", value,
			"partitions whose slots are not served stand still; redis-cli --cluster check tells more")
		return
	}
	x.add(driver.Good, "cluster", value, "")
}
