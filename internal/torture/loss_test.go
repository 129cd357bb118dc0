package torture

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/internal/redistest"
)

// A server loses what it had acknowledged, and nothing new is published: the outbox
// finds out and sends it again, once and in order, and no effect happens twice.
func TestRedisLosesWhatItAcknowledged(t *testing.T) {
	t.Run("the end of its file", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, "appendonly yes", "appendfsync always")
		x := newService(t, s)
		x.publish(20)
		x.settled()
		mark := s.MarkAOF()
		x.publish(20)
		x.settled()
		x.away()
		s.Kill()
		if s.CutAOF(mark) == 0 {
			t.Fatal("nothing was cut")
		}
		s.Restart()
		x.back(s)
	})
	t.Run("everything", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t, "appendonly no")
		x := newService(t, s)
		x.publish(30)
		x.settled()
		x.away()
		s.Kill()
		s.Restart()
		x.back(s)
		if n := strings.Count(x.said.String(), "the engine has lost the topic or group"); n != 1 {
			t.Errorf("the loss of the topic was said %d times, want once", n)
		}
	})
	t.Run("what its replica had not got", func(t *testing.T) {
		t.Parallel()
		master := redistest.Start(t, "appendonly yes", "appendfsync always")
		x := newService(t, master)
		x.publish(20)
		x.settled()
		replica := redistest.StartReplica(t, master, "appendonly yes", "appendfsync always")
		x.publish(5)
		x.settled()
		replica.CatchUp(master)
		replica.Kill()
		x.publish(20)
		x.settled()
		x.away()
		master.Kill()
		replica.Restart("replicaof no one")
		x.proxy.Retarget(replica.Addr())
		x.back(replica)
	})
	t.Cleanup(func() { wantNoGoroutines(t) })
}

// away takes the server out of reach, so that its loss can be counted.
func (x *service) away() {
	x.proxy.Refuse()
	x.proxy.Cut()
}

// back lets the service reach a server that has lost something, and checks that it finds
// its way.
func (x *service) back(s *redistest.Server) {
	x.t.Helper()
	kept := stored(x.t, s)
	x.t.Logf("%d of %d events are left", kept, x.total())
	if kept >= x.total() {
		x.t.Fatal("nothing was lost, which proves nothing")
	}
	if err := x.proxy.Heal(); err != nil {
		x.t.Fatal(err)
	}
	x.wantAll()
	x.publish(10)
	x.settled()
	x.wantAll()
	x.wantEffectsOnce()
}

// A node of a cluster comes back empty. What the others have stays, what the node had is
// sent again: at once, when it had the topic's record, and else when somebody creates the
// topic, which a service does that starts.
func TestRedisClusterLosesANode(t *testing.T) {
	for name, pick := range map[string]func(holders []int) int{
		"with the topic's record": func(holders []int) int { return holders[len(holders)-1] },
		"with a partition": func(holders []int) int {
			return slices.IndexFunc([]int{0, 1, 2}, func(n int) bool {
				return n != holders[4] && slices.Contains(holders[:4], n)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redistest.StartCluster(t, 3, "appendonly no")
			x := newServiceAt(t, c.URL())
			x.publish(20)
			x.settled()
			var holders []int // of the partitions, and of the record
			for _, key := range append(partitionStreams(), "deed:{losses}") {
				holders = append(holders, slices.IndexFunc(c.Nodes(), func(n *redistest.Server) bool {
					there, err := n.Command("EXISTS", key)
					return err == nil && there == "1"
				}))
			}
			t.Logf("partitions and record are on nodes %v", holders)
			node := c.Nodes()[pick(holders)]
			node.Kill()
			node.Restart()
			c.Await()
			if name == "with a partition" {
				x.waitsFor("the partition has no marker")
				create(t, c.URL())
			}
			x.wantAll()
			x.publish(5)
			x.settled()
			x.wantAll()
			x.wantEffectsOnce()
		})
	}
	t.Cleanup(func() { wantNoGoroutines(t) })
}

// partitionStreams names the streams of partitions that have events.
func partitionStreams() (names []string) {
	for p := range 4 {
		names = append(names, stream(p))
	}
	return names
}

// waitsFor publishes until the relay says what it waits for.
func (x *service) waitsFor(what string) {
	x.t.Helper()
	x.publish(1)
	eventually(x.t, "the relay does not say what it waits for", time.Minute, func() bool {
		return strings.Contains(x.said.String(), what)
	})
}

// create does what a service does that starts.
func create(t *testing.T, url string) {
	t.Helper()
	bus, err := engine.Open(t.Context(), url, &deed.Options{Source: "/other"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	if _, err := bus.Partition(t.Context(), lossTopic, deed.Event{}); err != nil {
		t.Fatal(err)
	}
}
