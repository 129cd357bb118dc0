package driver

import (
	"context"
	"database/sql"
)

// An engine whose topics are tables may live in the database of a service. The interfaces
// below let the two share a transaction. Engines that are no database have no use for them.

// Handled names an event that a handler's own transaction settles.
type Handled struct {
	Claim    Claim  // under which it was delivered
	Position string // its own
	// Run is that of a replay whose effect is to happen again, and 0 for any other
	// delivery: what a group meets for the first time happens once, whatever its resets.
	Run int
}

// Joint is implemented by engines that live in a database which may be a service's own as
// well. There a handler's effect and the note that its event is handled are one
// transaction, the service's.
type Joint interface {
	// Hosts reports whether db, which speaks the dialect "sqlite", "postgres" or "mysql",
	// is the database that the engine lives in, and whether its user may write the
	// engine's tables. The answer never changes; an error is not one.
	Hosts(ctx context.Context, db *sql.DB, dialect string) (bool, error)
	// HandledIn reports of each event whether a transaction has settled it before. It is
	// ErrFenced when a claim is lost, and locks nothing.
	HandledIn(ctx context.Context, tx *sql.Tx, es []Handled) ([]bool, error)
	// SettleIn settles events as part of tx, in whichever order those of a partition come:
	// once tx has committed HandledIn reports them, until Settle has passed them and they
	// have left the side log. It is ErrFenced when a claim is lost, and keeps the claims
	// from being lost until tx ends; so it comes last in tx. After an error tx is to be
	// rolled back.
	SettleIn(ctx context.Context, tx *sql.Tx, es []Handled) error
}

// Execer is a transaction that statements run in, a *sql.Tx or what stands for one.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Intake is implemented by a Joint engine that takes events in a transaction of the
// service's, which may not hold what gives positions: other publishers would wait for its
// commit. Such an event has no position until it is sequenced, after the commit. It goes
// before every event of its key whose Publish begins after that commit.
type Intake interface {
	Joint
	// PublishIn adds batches, without Producer and Seq, as part of tx, a transaction of a
	// database that the engine lives in. A topic that is absent is ErrNotFound. After an
	// error tx is to be rolled back.
	PublishIn(ctx context.Context, tx Execer, batches []Batch) error
	// Sequence gives positions to events whose transactions have committed, those of a
	// partition in the order in which they were added, and reports whether there may be
	// more to do. Any number of callers may be at it.
	Sequence(ctx context.Context) (more bool, err error)
	// Unsequenced counts the events of committed transactions without a position.
	Unsequenced(ctx context.Context) (int, error)
}
