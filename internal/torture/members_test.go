package torture

import (
	"context"
	"testing"
	"time"

	"github.com/deedgo/deed"
)

func init() { testRoles["patient"] = patient }

const longLease = time.Second

// patient takes ten leases for the first event of each key, and no time for the
// others.
func patient(ctx context.Context, job Job) error {
	return member(ctx, job, deed.SubscribeOptions{}, func(ctx context.Context, e deed.Received[Fact]) error {
		if e.Data.KV > 1 {
			return nil
		}
		return pause(ctx, 10*longLease)
	})
}

// A lease says how long a silent member keeps its partitions, and nothing about how
// long handlers may take: a member that is at work renews. One that joins meanwhile
// gets partitions whose handlers have returned.
func TestALongHandlerRunsOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	facts := s.publish(3, keysNamed("k", 8)...)
	a := s.worker("patient", "a", longLease, nil)
	b := s.worker("patient", "b", longLease, nil)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the handlers have not started", time.Minute, func() bool { return len(s.recorded(Deliver)) == 8 })
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group has not drained", 2*time.Minute, s.drained)
	eventually(t, "the second member got no partition", time.Minute, func() bool {
		ls, _ := s.lag()
		members := map[string]bool{}
		for _, l := range ls {
			members[l.Member] = true
		}
		return len(members) == 2
	})
	if err := stopAll(t.Context(), []*Process{a, b}); err != nil {
		t.Error(err)
	}
	s.wantHandled(facts)
	s.wantOrder(facts)
	for _, line := range duplicates(s.recorded(Deliver), func(op Op) string { return op.Proc }) {
		t.Errorf("handled twice: %s", line)
	}
}
