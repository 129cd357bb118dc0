package torture

import (
	"strings"
	"testing"

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
