package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/testserver"
)

// MasterName is what a sentinel calls the master that it watches.
const MasterName = "deed"

// StartReplica runs a replica of a master, with the same password and TLS, and
// returns when it holds, and has persisted if it does, what the master held. It
// becomes a master by Command("REPLICAOF", "NO", "ONE") or, while its master is
// away, by Restart("replicaof no one").
func StartReplica(t testing.TB, of *Server, directives ...string) *Server {
	t.Helper()
	s := start(t, &Server{tls: of.tls}, func(s *Server) []string {
		lines := append(s.listen(), "replicaof "+hostAndPort(of))
		if of.password != "" {
			lines = append(lines, "requirepass "+of.password)
		}
		return append(lines, directives...)
	})
	err := s.awaitFields(map[string]string{"master_link_status": "up", "master_sync_in_progress": "0"},
		"INFO", "replication")
	if err == nil {
		// The first copy is persisted by rewriting the append-only file. A replica that is
		// killed before comes back empty.
		err = s.awaitFields(map[string]string{"aof_rewrite_in_progress": "0", "aof_rewrite_scheduled": "0"},
			"INFO", "persistence")
	}
	if err != nil {
		t.Fatalf("start a replica of %s: %v", of.Name(), err)
	}
	return s
}

// CatchUp returns when the replica s has everything that its master holds now.
func (s *Server) CatchUp(master *Server) {
	s.TB.Helper()
	want, err := master.replicationOffset("master_repl_offset")
	if err == nil {
		err = testserver.Await(nil, func() error {
			got, err := s.replicationOffset("slave_repl_offset")
			if err == nil && got < want {
				err = fmt.Errorf("%s is at byte %d of %d", s.Name(), got, want)
			}
			return err
		})
	}
	if err != nil {
		s.TB.Errorf("catch up with %s: %v", master.Name(), err)
	}
}

func (s *Server) replicationOffset(field string) (int64, error) {
	fields, err := s.fields("INFO", "replication")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(fields[field], 10, 64)
}

// StartSentinel runs a sentinel that watches a master under the name MasterName, and
// with it the replicas that it has now. It returns when it could fail over to any of
// them. Quorum is how many sentinels have to miss the master, for three seconds,
// unless a directive says otherwise. The server that is returned is the sentinel; where the
// master is says Command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).
func StartSentinel(t testing.TB, master *Server, quorum int, directives ...string) *Server {
	t.Helper()
	s := start(t, &Server{args: []string{"--sentinel"}, tls: master.tls}, func(s *Server) []string {
		lines := append(s.listen(),
			fmt.Sprintf("sentinel monitor %s %s %d", MasterName, hostAndPort(master), quorum),
			"sentinel down-after-milliseconds "+MasterName+" 3000",
			"sentinel failover-timeout "+MasterName+" 10000")
		if master.password != "" {
			lines = append(lines, "sentinel auth-pass "+MasterName+" "+master.password)
		}
		return append(lines, directives...)
	})
	if err := testserver.Await(nil, func() error { return s.knows(master) }); err != nil {
		t.Fatalf("start a sentinel for %s: %v", master.Name(), err)
	}
	return s
}

// knows reports why a sentinel could not fail over from a master to each of its
// replicas.
func (s *Server) knows(master *Server) error {
	info, err := master.fields("INFO", "replication")
	if err != nil {
		return err
	}
	watched, err := s.Command("SENTINEL", "MASTER", MasterName)
	if err != nil {
		return err
	}
	replicas, err := s.Command("SENTINEL", "REPLICAS", MasterName)
	if err != nil {
		return err
	}
	// Both answers are names and values in turn.
	ready := strings.Count(replicas, "\nmaster-link-status\nok\n")
	if !strings.Contains(watched, "\nflags\nmaster\n") || strconv.Itoa(ready) != info["connected_slaves"] {
		return fmt.Errorf("it knows %d of %s replicas, and the master as:\n%s", ready, info["connected_slaves"], watched)
	}
	return nil
}

// hostAndPort returns a server's address as directives want it.
func hostAndPort(s *Server) string {
	host, port, _ := net.SplitHostPort(s.Addr())
	return host + " " + port
}
