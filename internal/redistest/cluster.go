package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/testserver"
)

// slots is the number of hash slots that a cluster's masters share.
const slots = 16384

// Cluster is a Redis Cluster of masters without replicas.
type Cluster struct {
	t     testing.TB
	nodes []*Server
}

// StartCluster runs a cluster, whose slots are spread evenly over its masters, and
// returns when every node says that the cluster is whole, after two seconds or so.
func StartCluster(t testing.TB, masters int, directives ...string) *Cluster {
	t.Helper()
	return startCluster(t, masters, nil, directives)
}

// StartClusterTLS is StartCluster with TLS, between the nodes too; see [StartTLS].
func StartClusterTLS(t testing.TB, masters int, directives ...string) (*Cluster, *TLS) {
	t.Helper()
	c, err := testserver.NewTLS(t.TempDir())
	if err != nil {
		t.Fatalf("certificates: %v", err)
	}
	return startCluster(t, masters, c, append([]string{"tls-cluster yes"}, directives...)), c
}

func startCluster(t testing.TB, masters int, tls *TLS, directives []string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	directives = append([]string{
		"cluster-enabled yes",
		"cluster-announce-ip 127.0.0.1",
		"cluster-node-timeout 5000", // a busy machine must not look like a dead node
	}, directives...)
	for range masters {
		c.nodes = append(c.nodes, start(t, &Server{tls: tls}, func(s *Server) []string {
			return append(s.listen(), directives...)
		}))
	}
	for i := range c.nodes {
		if err := c.join(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.await(); err != nil {
		t.Fatal(err)
	}
	return c
}

// join gives a node its slots and introduces it to the first.
func (c *Cluster) join(i int) error {
	n := c.nodes[i]
	// Nodes that choose their epochs themselves all choose the same at first.
	if _, err := n.Command("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
		return err
	}
	add := []string{"CLUSTER", "ADDSLOTS"}
	for slot := i * slots / len(c.nodes); slot < (i+1)*slots/len(c.nodes); slot++ {
		add = append(add, strconv.Itoa(slot))
	}
	if _, err := n.Command(add...); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.nodes[0].Addr())
	if err == nil && i > 0 {
		_, err = n.Command("CLUSTER", "MEET", host, port)
	}
	return err
}

// Await returns when every node says that the cluster is whole, as after the restart
// of one.
func (c *Cluster) Await() {
	c.t.Helper()
	if err := c.await(); err != nil {
		c.t.Error(err)
	}
}

func (c *Cluster) await() error {
	for _, n := range c.nodes {
		err := n.awaitFields(map[string]string{
			"cluster_state":          "ok",
			"cluster_slots_ok":       strconv.Itoa(slots),
			"cluster_slots_assigned": strconv.Itoa(slots),
			"cluster_known_nodes":    strconv.Itoa(len(c.nodes)),
		}, "CLUSTER", "INFO")
		if err != nil {
			return fmt.Errorf("the cluster is not whole: %w", err)
		}
	}
	return nil
}

// Nodes returns the cluster's servers, each to be killed and started again.
func (c *Cluster) Nodes() []*Server { return c.nodes }

// Addrs returns the nodes' addresses, host:port.
func (c *Cluster) Addrs() (addrs []string) {
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// URL returns the first node's URL, with the others as its parameters addr:
// redis://127.0.0.1:11000?addr=127.0.0.1:11001&addr=127.0.0.1:11002.
func (c *Cluster) URL() string {
	first, others := c.nodes[0].URL(), c.Addrs()[1:]
	if len(others) == 0 {
		return first
	}
	return first + "?addr=" + strings.Join(others, "&addr=")
}
