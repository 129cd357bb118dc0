package driverkit

import (
	"context"
	"time"

	"github.com/deedgo/deed/driver"
)

// Feeder is a log that has a queue for each partition of each group, and nothing else: it
// passes on what waits in them, and knows no members, claims or settings. [WithState] lets
// a [Ledger] keep these. A group gets what is published after its queues were made.
//
// Its Publish is ErrNotStored for what goes to no queue, and ErrNotFound for a topic that
// is not there; which partitions a topic has is checked before. Its Subscribe is ErrRefused.
type Feeder interface {
	driver.Conn
	// MakeTopic makes what the log needs of a topic, unless it is there.
	MakeTopic(ctx context.Context, topic string, partitions int) error
	// MakeGroup makes a group's queues. Of a known group these should be there: it returns
	// how many were not.
	MakeGroup(ctx context.Context, group, topic string, partitions int, known bool) (missing int, err error)
	// DropTopic removes a topic with the queues of its groups. What is not there is no
	// error, nor is it for DropGroup.
	DropTopic(ctx context.Context, topic string, partitions int, groups []string) error
	DropGroup(ctx context.Context, group, topic string, partitions int) error
	// Waiting tells of each partition what a group has not settled.
	Waiting(ctx context.Context, group, topic string, partitions int) ([]Waiting, error)
	// Feed makes a member's end of a group's queues. It has no partitions yet.
	Feed(group, topic string, lease time.Duration) (Feed, error)
}

// Waiting is what a group has not settled of a partition.
type Waiting struct {
	Events int64
	Oldest time.Time // when the first of these was stored; zero when nobody knows
	Last   string    // position of the last of these, "" when nobody knows
	Status string    // what is wrong with the count, "" when nothing is
}

// Feed is what a member reads of its partitions. Positions are numbers that grow, the same
// ones whoever reads. Its methods are safe for concurrent use.
type Feed interface {
	// Open begins to read a partition that was claimed. What is settled ends at a position.
	Open(partition int, settled string)
	// Shut ends it. When shut is closed, what was not settled can be read by others.
	Shut(partition int) (shut <-chan struct{})
	// Take returns deliveries that have come, within the bounds of a fetch, and what
	// stopped. It does not block. An error is told once; with driver.ErrLost it is the end.
	Take(f driver.Fetch) (driver.Received, error)
	// Ready returns a channel that is closed when there may be more to take.
	Ready() <-chan struct{}
	// Settle returns when nobody will be given a partition's events up to a position again.
	Settle(ctx context.Context, partition int, position string) error
	// Close shuts all, and waits for it.
	Close() error
}

// Ledger is implemented by engines that can keep the state of a [Feeder]: they take any
// position for handled, whatever they have stored themselves.
type Ledger interface {
	// Paused tells whether the group of a subscription is paused. When that may have
	// changed, the channel is closed.
	Paused(sub driver.Subscription) (paused bool, changed <-chan struct{})
}
