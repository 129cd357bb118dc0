package drivertest

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/deedgo/deed/driver"
)

// Database is a service's own database, for what an engine promises that lives in it.
type Database struct {
	SQL     *sql.DB
	Dialect string // as [driver.Joint] names it
	// Tx runs fn in a transaction as the service's are, which commits when fn returns nil.
	Tx func(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error
}

var jointChecks = []Check{
	{
		Name:    "joint-hosts",
		Promise: "The engine knows the database that it lives in, and takes no other for it.",
		Why:     "In another database a handler's effect and its settlement would be two steps again.",
		Takes:   implements[driver.Joint]("shares no transaction with a service"),
		Joint:   true,
		Run:     checkHosts,
	},
	{
		Name:    "joint-settle",
		Promise: "An event is handled when the handler's transaction commits, and is not when that rolls back.",
		Why:     "Else an effect happens twice, or never.",
		Takes:   implements[driver.Joint]("shares no transaction with a service"),
		Joint:   true,
		Run:     checkSettleIn,
	},
	{
		Name:    "joint-apart",
		Promise: "What a transaction has settled stays handled while it is in the side log, whatever the position.",
		Why:     "A parked event that was handled, and whose removal was cut off, would have its effect again.",
		Takes:   implements[driver.Joint]("shares no transaction with a service"),
		Joint:   true,
		Run:     checkSettledApart,
	},
	{
		Name:    "joint-replay",
		Promise: "A replay whose effects are to happen again is told apart from what was handled before.",
		Why:     "Else such a replay does nothing.",
		Takes:   implements[driver.Joint]("shares no transaction with a service"),
		Joint:   true,
		Run:     checkSettledRun,
	},
	{
		Name:    "joint-fenced",
		Promise: "A member that lost its partition settles nothing in a transaction.",
		Why:     "A zombie's effect would happen beside its successor's.",
		Takes:   implements[driver.Joint]("shares no transaction with a service"),
		Joint:   true,
		Run:     checkSettleInFenced,
	},
}

// implements makes a Check.Takes of an interface.
func implements[C any](without string) func(driver.Conn) string {
	return func(c driver.Conn) string {
		if _, ok := driver.As[C](c); !ok {
			return without
		}
		return ""
	}
}

func checkHosts(t T, e *Env) {
	joint, db := capability[driver.Joint](e), e.harness.Database
	same, err := joint.Hosts(t.Context(), db.SQL, db.Dialect)
	if err != nil || !same {
		t.Errorf("the service's database: %v, %v (want true)", same, err)
	}
	for _, other := range []string{"sqlite", "postgres", "mysql", "oracle"} {
		if other == db.Dialect {
			continue
		}
		if same, err := joint.Hosts(t.Context(), db.SQL, other); same || err != nil {
			t.Errorf("a database that speaks %s: %v, %v (want false)", other, same, err)
		}
	}
}

var errRollback = errors.New("the service rolls back")

// tx runs fn in a transaction of the service, which has to commit.
func (e *Env) tx(fn func(ctx context.Context, tx *sql.Tx) error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	e.must("a transaction of the service", e.harness.Database.Tx(ctx, fn))
}

// undone runs fn in a transaction of the service that is rolled back.
func (e *Env) undone(fn func(ctx context.Context, tx *sql.Tx) error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	err := e.harness.Database.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(fn(ctx, tx), errRollback)
	})
	if err != errRollback && err.Error() != errRollback.Error() {
		e.t.Fatalf("in a transaction of the service: %v", err)
	}
}

// handledBy names events that a member was given.
func handledBy(m *member, ds ...driver.Delivery) []driver.Handled {
	es := make([]driver.Handled, len(ds))
	for i, d := range ds {
		es[i] = driver.Handled{Claim: m.claims[d.Partition], Position: d.Position}
	}
	return es
}

// settleIn settles events in a transaction that commits.
func (e *Env) settleIn(es ...driver.Handled) {
	e.t.Helper()
	e.tx(func(ctx context.Context, tx *sql.Tx) error { return capability[driver.Joint](e).SettleIn(ctx, tx, es) })
}

// wantHandled checks which events a new transaction finds handled.
func (e *Env) wantHandled(when string, es []driver.Handled, want ...bool) {
	e.t.Helper()
	var got []bool
	e.tx(func(ctx context.Context, tx *sql.Tx) (err error) {
		got, err = capability[driver.Joint](e).HandledIn(ctx, tx, es)
		return err
	})
	if !slices.Equal(got, want) {
		e.t.Errorf("%s: handled %v, want %v", when, got, want)
	}
}

// given returns a member that was given n events of one partition.
func (e *Env) given(n int) (driver.TopicInfo, *member) {
	e.t.Helper()
	info := e.topic(driver.TopicSettings{Partitions: 1})
	e.publish(e.conn, batch(info, 0, numbered(1, n)...))
	m := e.join(e.conn, info.Name, "group")
	m.take(n)
	return info, m
}

func checkSettleIn(_ T, e *Env) {
	joint := capability[driver.Joint](e)
	info, m := e.given(3)
	es := handledBy(m, m.got...)
	e.wantHandled("before anything", es, false, false, false)
	e.undone(func(ctx context.Context, tx *sql.Tx) error { return joint.SettleIn(ctx, tx, es) })
	e.wantHandled("after a rollback", es, false, false, false)
	e.settleIn(es[2], es[0]) // in any order
	e.wantHandled("after a commit", es, true, false, true)

	m.close() // as a process that ends before it settles
	next := e.join(e.open(), info.Name, "group")
	next.take(3)
	again := handledBy(next, next.got...)
	e.wantHandled("to the next owner", again, true, false, true)
	e.settleIn(again[1])
	next.settle(0, next.got[2].Position)
	next.quiet("everything is settled")
}

func checkSettledApart(t T, e *Env) {
	_, m := e.given(2)
	side, claim := capability[driver.SideLog](e), m.claims[0]
	e.must("park", side.Park(t.Context(), claim, []driver.Parked{parked(m.got[0], driver.Waiting)}))
	m.settle(0, m.got[1].Position)
	es := handledBy(m, m.got[0])
	e.wantHandled("parked", es, false)
	e.settleIn(es...)
	m.settle(0, m.got[1].Position)
	e.wantHandled("while it is parked", es, true)
}

func checkSettledRun(_ T, e *Env) {
	_, m := e.given(1)
	es := handledBy(m, m.got[0])
	e.settleIn(es...)
	replay := slices.Clone(es)
	replay[0].Run = 1
	e.wantHandled("in a replay with effects", replay, false)
	e.settleIn(replay...)
	e.wantHandled("after that", append(replay, es...), true, true)
}

func checkSettleInFenced(t T, e *Env) {
	joint := capability[driver.Joint](e)
	x := e.passOn()
	stale := []driver.Handled{{Claim: x.stale, Position: x.ds[3].Position}}
	err := e.harness.Database.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		return joint.SettleIn(ctx, tx, stale)
	})
	e.wantErr("settling with a stale claim", err, driver.ErrFenced)
	err = e.harness.Database.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := joint.HandledIn(ctx, tx, stale)
		return err
	})
	e.wantErr("asking with a stale claim", err, driver.ErrFenced)
	e.wantHandled("by the owner", []driver.Handled{{Claim: x.owner, Position: x.ds[3].Position}}, false)
}
