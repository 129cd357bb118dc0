package sqldb

import "time"

// Blocker is an open transaction of a database server that holds back something of deed's.
// Other events flow all the same.
type Blocker struct {
	What      Blocked
	Topic     string // of BlockedPublish, and of BlockedGroup where it is known
	Partition int    // of BlockedPublish
	PID       int64  // the server's process, on MySQL its thread: what ends it there
	Name      string // what it calls itself, on MySQL its user
	State     string // what it is doing: "idle in transaction"
	Age       time.Duration
	Waiting   int // transactions of deed that wait for it
}

// Blocked says what a transaction holds back.
type Blocked string

// The things that a transaction holds back.
const (
	BlockedPublish Blocked = "publish" // what others publish to a partition, whose lock it has
	BlockedGroup   Blocked = "group"   // joining, leaving and renewing of a group's members
	BlockedOutbox  Blocked = "outbox"  // the events that it has published itself, until it commits
	BlockedVacuum  Blocked = "vacuum"  // nothing but removed rows, which stay on the disk
	BlockedOther   Blocked = "other"   // some transaction of deed, at a lock of another kind
)
