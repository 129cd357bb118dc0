package deedredis

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/redistest"
)

// asDeed is a URL with the user of deploy/redis/deed.acl, and further parameters.
func asDeed(t *testing.T, of string, params ...string) string {
	t.Helper()
	u, err := url.Parse(of)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("deed", "geheim")
	u.RawQuery = strings.Join(append(params, u.RawQuery), "&")
	return strings.TrimSuffix(u.String(), "&")
}

// roundTrip publishes an event for each of 6 partitions and receives them.
func roundTrip(t *testing.T, c *Conn) {
	t.Helper()
	const partitions = 6
	info, err := c.CreateTopic(t.Context(), "round", driver.TopicSettings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		publishOne(t, c, info, p, fmt.Sprint(p))
	}
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: info.Name, Group: "group", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	x := &stopScene{t: t, sub: sub}
	x.until("all have come", func() bool { return len(x.data) == partitions })
}

// A cluster whose nodes speak TLS only, with a user of its own.
func TestClusterWithTLS(t *testing.T) {
	t.Parallel()
	s, c := redistest.StartClusterTLS(t, 3, restricted(t))
	ca := "ca=" + c.CAFile
	roundTrip(t, open(t, asDeed(t, s.URL(), ca)))
	for _, n := range s.Nodes() {
		if n := command(t, n, "DBSIZE"); n == "0" {
			t.Error("a node has nothing, so that it was not asked")
		}
	}
	_, err := Open(t.Context(), s.URL(), nil)
	refused(t, "without the authority", err, "the server's certificate is not trusted (name its authority by ca=FILE)")
	_, err = Open(t.Context(), strings.Replace(asDeed(t, s.URL(), ca), "geheim", "falsch", 1), nil)
	refused(t, "wrong password", err, "the user or password is wrong")
}

// A master behind sentinels that speak TLS, with a user and a database of its own, before
// and after a failover.
func TestSentinelWithTLS(t *testing.T) {
	t.Parallel()
	master, tls := redistest.StartTLS(t, restricted(t))
	replica := redistest.StartReplica(t, master, restricted(t))
	sentinel := redistest.StartSentinel(t, master, 1,
		"user default on nopass ~* &* +@all", "user watch on >leise ~* &* +@all")
	url := asDeed(t, sentinel.URL(), "master_set="+redistest.MasterName, "ca="+tls.CAFile, "db=3",
		"sentinel_user=watch", "sentinel_password=leise")
	c := open(t, url)
	roundTrip(t, c)
	keys := command(t, master, "INFO", "keyspace")
	if !strings.Contains(keys, "db3:keys=") || strings.Contains(keys, "db0:") {
		t.Errorf("want keys in database 3 only: %s", keys)
	}
	replica.CatchUp(master)
	master.Kill()
	eventually(t, "the replica is the master", func() bool {
		role, err := replica.Command("ROLE")
		return err == nil && strings.HasPrefix(role, "master")
	})
	eventually(t, "publishing goes on", func() bool {
		return tryOne(t, c, driver.TopicInfo{Name: "round"}, 0, "after") == nil
	})
	other := open(t, url)
	if ds, err := other.Browse(t.Context(), driver.Page{Topic: "round", Limit: 10}); err != nil || len(ds) < 2 {
		t.Errorf("the new master has %d events, %v, want those of before and after", len(ds), err)
	}
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); pause() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
