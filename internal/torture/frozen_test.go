package torture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/internal/redistest"
)

func init() { testRoles["clerk"] = clerk }

// clerk handles events one after the other, each in a moment.
func clerk(ctx context.Context, job Job) error {
	return member(ctx, job, deed.SubscribeOptions{}, func(ctx context.Context, e deed.Received[Fact]) error {
		return pause(ctx, 5*time.Millisecond)
	})
}

// Of three members one is frozen right before it settles. Its partitions are the others'
// when its lease is over, and what it settles when it wakes is not stored.
func TestRedisMemberThatIsFrozenMovesNothing(t *testing.T) {
	t.Parallel()
	const (
		lease   = 2 * time.Second
		renewal = lease / 3
		slack   = 10 * time.Second // of a busy machine
	)
	s := newSceneOn(t, t.TempDir(), redistest.Start(t).URL())
	var members []*Process
	for _, name := range []string{"a", "b", "c"} {
		p := s.worker("clerk", name, lease, nil)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		members = append(members, p)
	}
	// owners counts the members that own all partitions together, 0 while one is free.
	owners := func() int {
		lags, _ := s.lag()
		members := map[string]bool{}
		for _, l := range lags {
			members[l.Member] = true
		}
		if members[""] {
			return 0
		}
		return len(members)
	}
	eventually(t, "the members have not divided the partitions", time.Minute, func() bool { return owners() == 3 })
	frozen := members[0]
	facts := s.freeze(frozen, lease)
	began := time.Now()
	eventually(t, "its partitions have not moved", time.Minute, func() bool { return owners() == 2 })
	took := time.Since(began)
	t.Logf("its partitions moved within %v, the lease is %v", took, lease)
	if took > lease+renewal+slack {
		t.Errorf("its partitions moved within %v, the lease is %v and renewals come every %v", took, lease, renewal)
	}
	eventually(t, "the others do not get on", time.Minute, s.drained)
	before := len(s.recordedBy("a.*", Grant))
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the member does not come back", time.Minute, func() bool {
		return len(s.recordedBy("a.*", Grant)) > before && owners() == 3
	})
	if err := stopAll(t.Context(), members); err != nil {
		t.Error(err)
	}
	ops, err := ReadOps(s.dir, "*")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHistory(ops)
	for _, line := range slices.Concat(twoOwners(h), regress(h)) {
		t.Error(line)
	}
	s.wantHandled(facts)
	s.wantOrder(facts)
}

// freeze lets a process freeze itself right before it settles, and returns the events that
// it was given for that.
func (s *scene) freeze(p *Process, lease time.Duration) (facts []Fact) {
	s.t.Helper()
	for round := range 20 {
		if err := p.Ambush(); err != nil { // it is called off after half a lease
			s.t.Fatal(err)
		}
		facts = append(facts, s.publish(10, keysNamed(fmt.Sprintf("r%d-", round), 24)...)...)
		for until := time.Now().Add(lease); time.Now().Before(until); {
			if stopped(s.t, p) {
				return facts
			}
			pause(s.t.Context(), 10*time.Millisecond)
		}
	}
	s.t.Fatal("the member does not freeze")
	return nil
}

// stopped reports whether a process stands still.
func stopped(t *testing.T, p *Process) bool {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T"))
}
