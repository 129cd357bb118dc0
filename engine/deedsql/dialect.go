package deedsql

import (
	"context"
	"database/sql"
	"time"

	"github.com/deedgo/deed/driver"
)

// dialect is what differs between databases. The engine's SQL is written once, with "?"
// placeholders and in words that SQLite and Postgres share; sql says it in the
// database's own.
type dialect interface {
	// sql translates a query. The result may be kept.
	sql(query string) string
	// prepares says that statements are prepared once and kept with their connection.
	// Else each is given to the driver as it is, which may keep it prepared by itself.
	prepares() bool
	// lends says that what a driver's row holds is its own until the next row, and that
	// text in it is bytes.
	lends() bool
	// limits says what is too large to be stored.
	limits() limits
	// shared says that several processes may be in write transactions at once, which is
	// what locks are for.
	shared() bool
	// lanes is how many transactions one process may have under way at once, for large
	// calls of Publish.
	lanes() int
	// tables is how events are stored.
	tables() tables

	// enter waits for what has to come before the jobs of a transaction are gathered:
	// those that come meanwhile get into it. Leave ends what enter began.
	enter(ctx context.Context) error
	leave()
	// begin begins a transaction that holds the rights to write that it needs, and
	// returns the session to run it in with what is known at that point. End gives back
	// both after the commit or rollback.
	begin(ctx context.Context, n *needs, before *known) (*session, *known, error)
	commit(s *session) error
	end(s *session, failed bool)
	// updateClaim runs an update of one claim and returns how many rows it changed.
	updateClaim(t *tx, key claimKey, query string, args ...any) (int64, error)
	// try takes one more right if nobody holds it, and never waits.
	try(t *tx, l lock) (bool, error)
	// committed tells other processes that there is something to look at.
	committed()

	// watch calls changed whenever another connection may have committed, until ctx
	// ends.
	watch(ctx context.Context, changed func()) error
	// now is the clock that leases and windows go by, the same for all processes.
	now() time.Time
	// explain says what an error of the database means, as one of the driver's
	// sentinels where one fits.
	explain(err error) (scope, error)
	features() driver.Features
	// hosts reports whether db, of the same kind, is this database.
	hosts(ctx context.Context, db *sql.DB) (bool, error)
	close() error
}

// limits are bytes; 0 is none.
type limits struct {
	zero bool // text has no zero bytes
	data int  // of an event
	key  int  // of an event
	name int  // an event's id, and its source, on a topic with an id window
}

// scope is what an error of a job says about the other jobs of its transaction.
type scope int

const (
	oneJob  scope = iota // another job may fare better
	allJobs              // no other job would
	noJob                // the same jobs may fare better when they run again
)

// lock names a right to write: who holds it is the only one, until his transaction ends.
// All that a transaction needs are taken when it begins and in one order, so that two
// transactions never wait for each other.
type lock struct {
	kind      lockKind
	name      string // of the topic
	partition int
	id        int64 // of the group
}

type lockKind int

const (
	lockTopic     lockKind = iota // a topic's settings and first events, and which groups it has
	lockPartition                 // the end of a partition
	lockGroup                     // a group's row and seats
	lockSweep                     // removing what nobody needs
)

func topicLock(name string) lock { return lock{kind: lockTopic, name: name} }

func partitionLock(topic string, partition int) lock {
	return lock{kind: lockPartition, name: topic, partition: partition}
}

func partitionLocks(topic *topic) []lock {
	locks := make([]lock, topic.settings.Partitions)
	for p := range locks {
		locks[p] = partitionLock(topic.name, p)
	}
	return locks
}

func groupLock(id int64) lock { return lock{kind: lockGroup, id: id} }

// claimKey is the key of a row of deed_claim.
type claimKey struct {
	group     int64
	partition int
}

// needs is what a transaction has to hold and would read first.
type needs struct {
	locks   []lock // each once
	batches []*driver.Batch
}
