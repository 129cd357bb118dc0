package torture

import (
	"context"
	"database/sql"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/internal/pgtest"
)

func init() { testRoles["teller"] = teller }

// teller handles events in transactions of the database that its job names. One that is
// to freeze does so inside of one, with the rows locked that it has written.
func teller(ctx context.Context, job Job) error {
	rec, db, done, err := openBooks(job)
	if err != nil {
		return err
	}
	defer done()
	bus, err := openBus(ctx, job, rec)
	if err != nil {
		return err
	}
	defer bus.Close()
	c := &consuming{job: job, rec: rec, db: db}
	var freeze sync.Once // handlers of several keys get there
	handle := func(ctx context.Context, tx *sql.Tx, e deed.Received[Fact]) error {
		err := c.effect(ctx, tx, e)
		if err == nil && job.Args["freeze"] != "" && e.Data.KV == 2 {
			freeze.Do(func() { err = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP) })
		}
		return err
	}
	return bus.Run(ctx, deed.Subscribe(Plain, nil, inbox.On(db, factType, handle)))
}

// TestFrozenInsideATransaction freezes a member that holds locks of the database. The
// server ends its transaction with the lease, so that the next owner gets on; what the
// member does when it wakes is undone.
func TestFrozenInsideATransaction(t *testing.T) {
	t.Parallel()
	const (
		lease = 2 * time.Second
		slack = 10 * time.Second // of a busy machine
	)
	server := pgtest.Start(t)
	s := newSceneOn(t, t.TempDir(), server.URL(server.Database(t)))
	effects := server.URL(server.Database(t))
	if err := createEffects(effects); err != nil {
		t.Fatal(err)
	}
	start := func(name string, args map[string]string) *Process {
		p := spawn(t, Job{
			Role: "teller", Name: name, Dir: s.dir, URL: s.url, Effects: effects, Lease: lease, Args: args,
			Load: Load{}.withDefaults(),
		})
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	frozen := start("a", map[string]string{"freeze": "yes"})
	facts := s.publish(3, keysNamed("k", 24)...)
	eventually(t, "the member does not freeze", time.Minute, func() bool { return stopped(t, frozen) })
	other := start("b", nil)
	began := time.Now()
	eventually(t, "the other member does not get on", time.Minute, s.drained)
	took := time.Since(began)
	t.Logf("all was handled elsewhere within %v, the lease is %v", took, lease)
	if took > lease+2*time.Second+slack {
		t.Errorf("all was handled elsewhere within %v, the lease is %v", took, lease)
	}
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := stopAll(t.Context(), []*Process{frozen, other}); err != nil {
		t.Error(err)
	}
	ops, err := readEffects(t.Context(), effects)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, op := range ops {
		if op.Do == Effect {
			times[op.ID]++
		}
	}
	for _, f := range facts {
		if n := times[f.id()]; n != 1 {
			t.Errorf("%s has %d effects, want 1", f.id(), n)
		}
	}
}
