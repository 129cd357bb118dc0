package torture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/inbox"
	"github.com/deedgo/deed/sqldb"
)

// consumer is a member of every group.
func consumer(ctx context.Context, job Job) error {
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
	opts := &deed.SubscribeOptions{
		// A frozen process may hold a database's lock for a while, which must not
		// use up the attempts of innocent events.
		Retry: deed.Retry{Attempts: 50, Min: 20 * time.Millisecond, Max: time.Second},
		// Nor are an event's processes to be killed so often while it is alone on trial that it
		// looks guilty: with a kill every two seconds and slow handlers, three times happen.
		MaxCrashes: 20,
		Middleware: []deed.Middleware{c.record},
	}
	facts := factTypeOn(bus)
	effects := []deed.Handler{inbox.On(db, facts, c.effect)}
	plain := []deed.Handler{deed.On(facts, c.plain)}
	if job.Load.Writers > 0 {
		effects = append(effects, inbox.On(db, accountType, c.effect))
		plain = append(plain, deed.On(accountType, c.plain))
	}
	groups := []deed.Runner{deed.Subscribe(Effects, opts, effects...), deed.Subscribe(Plain, opts, plain...)}
	if job.Load.Reset > 0 {
		groups = append(groups, deed.Subscribe(Replay, opts, inbox.On(db, facts, c.replayed)))
	}
	if job.Load.Keep > 0 {
		groups = append(groups, sweeping{job})
	}
	for deadline := time.Now().Add(stubborn); ; pause(ctx, 100*time.Millisecond) {
		err := bus.Run(ctx, groups...)
		// A service that starts on a full disk ends, and is started again.
		if !errors.Is(err, driver.ErrNotStored) || time.Now().After(deadline) {
			return err
		}
	}
}

type consuming struct {
	job Job
	rec *Recorder
	db  *sqldb.DB // of the handlers with an inbox
}

// record notes every call of a handler. It is outside of the inbox's transaction.
func (c *consuming) record(next deed.HandlerFunc) deed.HandlerFunc {
	return func(ctx context.Context, e deed.Received[[]byte]) (err error) {
		op := seen(Deliver, e.ID, e.Key, e.Data)
		op.Group, op.Pos = e.Group, e.Position
		op.Part, op.Run, op.Replay, op.Quiet = partOf(e.Topic, partitionOf(e.Position)), e.Run, e.Replay, e.Quiet
		c.rec.Record(op)
		defer func() {
			op.Do = Done
			if p := recover(); p != nil {
				op.Do, op.Err = Failed, "panic"
				c.rec.Record(op)
				panic(p)
			}
			if err != nil {
				op.Do, op.Err = Failed, err.Error()
			}
			c.rec.Record(op)
		}()
		return next(ctx, e)
	}
}

var errTransient = errors.New("a transient failure")

// verdict decides by the event what a handler makes of it: one in a hundred fails at
// first, one in a thousand panics at first, poison is rejected until the handlers are
// fixed. Where dead letters are redriven meanwhile, every other half second accepts it.
func (c *consuming) verdict(e deed.Received[Fact]) error {
	dice := hash(e.Group + e.ID)
	switch {
	case e.Data.Poison && !c.job.Fixed && (c.job.Load.PoisonIn == 0 || time.Now().UnixMilli()/500%2 == 0):
		return deed.Reject(errors.New(poisoned))
	case dice%1000 == 1 && e.Attempt == 1:
		panic("torture: a handler panics at its first attempt")
	case dice%100 == 0 && e.Attempt == 1:
		return errTransient
	}
	return nil
}

// plain has no effect but the record of it.
func (c *consuming) plain(ctx context.Context, e deed.Received[Fact]) error {
	if err := c.verdict(e); err != nil {
		return err
	}
	if hash(e.ID)%uint64(c.job.Load.SlowIn) == 0 {
		return pause(ctx, c.job.Load.Slow)
	}
	return nil
}

// effect adds the event to its key's ledger, and a line to the list of what was
// applied. Neither has anything that would keep a second one out.
func (c *consuming) effect(ctx context.Context, tx *sql.Tx, e deed.Received[Fact]) error {
	f := e.Data
	upsert := `ON CONFLICT (event_key) DO UPDATE
		SET last_kv = excluded.last_kv, events = ledger.events + 1, total = ledger.total + excluded.total`
	if c.db.Dialect() == sqldb.DialectMySQL {
		upsert = `ON DUPLICATE KEY UPDATE last_kv = values(last_kv), events = events + 1, total = total + values(total)`
	}
	_, err := tx.ExecContext(ctx, c.db.Rebind("INSERT INTO ledger (event_key, last_kv, events, total) "+
		"VALUES (?, ?, 1, ?) "+upsert), f.Key, f.KV, f.Amount)
	if err != nil {
		return err
	}
	if err := pause(ctx, c.job.Load.Dwell); err != nil {
		return err
	}
	op := seen(Effect, e.ID, e.Key, e.Event.Data)
	_, err = tx.ExecContext(ctx, c.db.Rebind("INSERT INTO applied (event_id, event_key, kv, crc, proc, wall) "+
		"VALUES (?, ?, ?, ?, ?, ?)"), op.ID, op.Key, op.KV, op.Sum, c.job.proc(), time.Now().UnixNano())
	if err != nil {
		return err
	}
	return c.verdict(e) // with the effect written, so that it has to be undone
}

// replayed notes the event and in which run it came. Only the inbox keeps a second
// row of a run out.
func (c *consuming) replayed(ctx context.Context, tx *sql.Tx, e deed.Received[Fact]) error {
	op := seen(Effect, e.ID, e.Key, e.Event.Data)
	replay := 0
	if e.Replay {
		replay = 1
	}
	_, err := tx.ExecContext(ctx, c.db.Rebind("INSERT INTO replayed (event_id, event_key, kv, crc, proc, run, replay) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?)"), op.ID, op.Key, op.KV, op.Sum, c.job.proc(), e.Run, replay)
	return err
}

// partitionOf reads the partition of a position such as "3-1042".
func partitionOf(position string) int {
	var part int
	fmt.Sscanf(position, "%d-", &part)
	return part
}
