package redistest_test

import (
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/deedgo/deed/internal/redistest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, "appendonly yes", "appendfsync always")
	u, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	if got := append([]string{u.Host}, u.Query()["addr"]...); !slices.Equal(got, c.Addrs()) {
		t.Errorf("the URL %s names %v, want %v", u, got, c.Addrs())
	}
	stored := storeByRedirect(t, c)
	for i, n := range c.Nodes() {
		if got := command(t, n, "DBSIZE"); got != strconv.Itoa(stored[n.Addr()]) || stored[n.Addr()] < 100 {
			t.Errorf("node %d has %s keys, %d were sent there: uneven, or none", i, got, stored[n.Addr()])
		}
	}
	n := c.Nodes()[1]
	n.Kill()
	n.Restart()
	c.Await()
	if got := command(t, n, "DBSIZE"); got != strconv.Itoa(stored[n.Addr()]) {
		t.Errorf("has %s keys after a restart, had %d", got, stored[n.Addr()])
	}
}

// storeByRedirect sends keys to the first node and where it says they belong, and
// returns how many each address has got.
func storeByRedirect(t *testing.T, c *redistest.Cluster) map[string]int {
	t.Helper()
	stored := map[string]int{}
	for i := range 600 {
		key := "key" + strconv.Itoa(i)
		n := c.Nodes()[0]
		_, err := n.Command("SET", key, "value")
		if err != nil {
			to := err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:] // "MOVED 3999 127.0.0.1:11001"
			at := slices.Index(c.Addrs(), to)
			if at < 0 {
				t.Fatalf("sent to a strange place: %v", err)
			}
			n = c.Nodes()[at]
			command(t, n, "SET", key, "value")
		}
		stored[n.Addr()]++
	}
	return stored
}

// TestStaleReplica loses acknowledged and persisted events, as Redis does when a
// replica that was away becomes the master.
func TestStaleReplica(t *testing.T) {
	t.Parallel()
	durable := []string{"appendonly yes", "appendfsync always"}
	master := redistest.Start(t, durable...)
	add(t, master, 3)
	replica := redistest.StartReplica(t, master, durable...)
	replica.Kill() // at once: StartReplica waits until it has persisted what it copied
	add(t, master, 10)
	master.Kill()
	replica.Restart("replicaof no one")
	if got := command(t, replica, "XLEN", "stream"); got != "3" {
		t.Errorf("the promoted replica has %s events, want 3", got)
	}
	master.Restart()
	add(t, replica, 1)
	if got := command(t, replica, "XLEN", "stream"); got != "4" {
		t.Errorf("with its old master back, it has %s events, want 4", got)
	}
	said, err := os.ReadFile(replica.Log())
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(said), "DB loaded from append only file")
	if after == "" || strings.Contains(after, "to MASTER") {
		t.Errorf("the promoted replica looks for a master:\n%s", said)
	}
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "requirepass geheim")
	replica := redistest.StartReplica(t, master)
	add(t, master, 50)
	replica.CatchUp(master)
	if got := command(t, replica, "XLEN", "stream"); got != "50" {
		t.Errorf("the replica has %s events, want 50", got)
	}
	if _, err := replica.Command("XADD", "stream", "*", "n", "1"); err == nil {
		t.Error("the replica takes writes")
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "requirepass geheim")
	replica := redistest.StartReplica(t, master)
	sentinel := redistest.StartSentinel(t, master, 1)
	where := func() string {
		addr := command(t, sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", redistest.MasterName)
		return strings.ReplaceAll(addr, "\n", ":")
	}
	if got := where(); got != master.Addr() {
		t.Errorf("the sentinel knows %s, want %s", got, master.Addr())
	}
	master.Kill()
	eventually(t, "the replica becomes the master", func() bool { return where() == replica.Addr() })
	eventually(t, "it takes writes", func() bool {
		_, err := replica.Command("SET", "key", "value")
		return err == nil
	})
}
