package driverkit

import (
	"context"
	"time"

	"github.com/deedgo/deed/driver"
)

// Feeder is a log that passes on what it has of each partition, and nothing else: it knows
// no members, claims or settings. [WithState] lets a [Ledger] keep these.
//
// It has a queue for each partition of each group, and a group gets what is published after
// its queues were made: then it is [Queues]. Or it has one log for each partition, for all
// groups: then it is [Logs], and promises Features.Browse, Backlog and Reset.
//
// Its Publish is ErrNotStored for what goes to no queue, and ErrNotFound for a topic that
// is not there; which partitions a topic has is checked before. Its Subscribe is ErrRefused.
type Feeder interface {
	driver.Conn
	// Space is what its topics go under in the state. Others are spaces of feeders that the
	// same names are taken from: a topic that is there is refused, for the reason given.
	Space() (own string, others map[string]string)
	// MakeTopic makes what the log needs of a topic, unless it is there.
	MakeTopic(ctx context.Context, topic string, partitions int) error
	// MakeGroup makes what it needs of a group. Of a known group that should be there: it
	// returns how many queues, or logs, were not.
	MakeGroup(ctx context.Context, group, topic string, partitions int, known bool) (missing int, err error)
	// DropTopic removes a topic with the queues of its groups. What is not there is no
	// error, nor is it for DropGroup.
	DropTopic(ctx context.Context, topic string, partitions int, groups []string) error
	DropGroup(ctx context.Context, group, topic string, partitions int) error
	// Feed makes a member's end of what its group is to be given. It has no partitions yet.
	Feed(group, topic string, lease time.Duration) (Feed, error)
}

// Queues is a [Feeder] that forgets what a group has settled.
type Queues interface {
	// Waiting tells of each partition what a group has not settled.
	Waiting(ctx context.Context, group, topic string, partitions int) ([]Waiting, error)
}

// Logs is a [Feeder] that keeps what it has, for whoever reads it again, and is not asked as
// [Queues]. Its positions are the same for all; there is one for each event, and few others.
type Logs interface {
	// Browse, Seek and Ends are those of [driver.Browser]. The zero time is the beginning of
	// what is there.
	Browse(ctx context.Context, p driver.Page) ([]driver.Delivery, error)
	Seek(ctx context.Context, topic string, partition int, t time.Time) (string, error)
	Ends(ctx context.Context, topic string, partitions int) ([]string, error)
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

// Ledger is implemented by engines that can keep the state of a [Feeder]: on a topic with a
// slash in its name they take any position for handled, and any cursor to start at or be
// reset to, whatever they have stored themselves.
type Ledger interface {
	// Paused tells whether the group of a subscription is paused. When that may have
	// changed, the channel is closed.
	Paused(sub driver.Subscription) (paused bool, changed <-chan struct{})
	// Replays returns up to which position deliveries under a claim are replays, "" for none.
	Replays(sub driver.Subscription, claim driver.Claim) (upTo string, err error)
}
