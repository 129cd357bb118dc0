package driver

import (
	"context"
	"time"
)

// The interfaces below, and those of sidelog.go, records.go, streams.go and joint.go, are
// optional: an engine implements those it can keep, each as a whole, and package deed finds
// them with [As]. Each is one idea. Methods are safe for concurrent use, and return ErrClosed
// once the connection was closed.

// TopicInfo describes a topic.
type TopicInfo struct {
	Name string
	TopicSettings
	Generation  int    // grows with every creation under the name, and never repeats
	Incarnation string // which life of the log positions belong to
	Created     time.Time
	Events      int64     // stored now
	Bytes       int64     // of their data
	Scheduled   int64     // delayed events that wait for their time
	NextDue     time.Time // when the first of these is due; zero when none
	// Damage says what of the topic the engine has lost or cannot read, and what to do;
	// "" is none. The counts are then of the rest.
	Damage string
}

// Topics is implemented by engines that create and describe topics.
type Topics interface {
	// CreateTopic creates a topic or returns the one there is. Settings that
	// differ are not an error here: package deed compares. The engine calls Complete on
	// them first.
	CreateTopic(ctx context.Context, name string, s TopicSettings) (TopicInfo, error)
	// Topic describes one topic, or is ErrNotFound.
	Topic(ctx context.Context, name string) (TopicInfo, error)
	// Topics lists all, by name, damaged ones too.
	Topics(ctx context.Context) ([]TopicInfo, error)
	// SetTopic changes Dedupe, Keep, Hold and MaxBytes; a changed Partitions or PartitionBy
	// is ErrRefused.
	SetTopic(ctx context.Context, name string, s TopicSettings) error
	// DeleteTopic removes a topic with its events, groups and dead letters. Its members'
	// next calls are ErrNotFound. An absent topic is ErrNotFound.
	DeleteTopic(ctx context.Context, name string) error
}

// PartitionLag is a group's standing on one partition.
type PartitionLag struct {
	Group, Topic string
	Partition    int
	Position     string    // handled up to here
	End          string    // last stored position
	Events       int64     // not handled yet, parked and dead ones apart
	Oldest       time.Time // when the first of these was stored; zero when none
	Parked       int64     // waiting in the side log behind a failed event, or for a retry
	Dead         int64
	Member       string    // who owns the partition, "" when nobody does
	MemberGone   bool      // the owner is silent and its lease has not run out yet
	Lapses       time.Time // when the owner's lease runs out
	Epoch        int64
	Rate         float64 // events a second, as last settled
	Status       string  // why it does not move
}

// GroupInfo describes a group on one topic.
type GroupInfo struct {
	Group, Topic string
	Created      time.Time
	Members      []string // with a live lease
	LastSeen     time.Time
	Paused       bool
	Run          int
	Unsafe       []string // types whose handlers are not replay-safe, as last declared
	Dropped      int64    // events that Hold removed before the group had handled them
}

// Groups is implemented by engines that can tell about groups.
type Groups interface {
	// Groups lists groups by (group, topic). A group is there from its first Subscribe
	// until it or the topic is deleted, whether or not it has members.
	Groups(ctx context.Context) ([]GroupInfo, error)
	// Lag reports every partition of the groups and topics named, by (group, topic,
	// partition); "" names all.
	Lag(ctx context.Context, group, topic string) ([]PartitionLag, error)
	// DeleteGroup forgets a group with its dead letters. Running members are
	// ErrBusy.
	DeleteGroup(ctx context.Context, group, topic string) error
	// PauseGroup stops or resumes fetching for all members.
	PauseGroup(ctx context.Context, group, topic string, paused bool) error
}

// Reset says how a group's position is set.
type Reset struct {
	To    From // a partition that a Cursor does not name goes to its beginning
	Quiet bool // replays go to replay-safe handlers only
	// Fence takes the partitions away from running members, under a new epoch;
	// without it running members are ErrBusy.
	Fence bool
}

// Resetter is implemented by engines that can set a group back, or forward.
type Resetter interface {
	// ResetGroup sets the group's position on every partition of the topic in one
	// step, and starts its next run. From then on a delivery at or below the highest
	// position that the group ever had committed there is a Replay; its parked and
	// dead events stay.
	ResetGroup(ctx context.Context, group, topic string, r Reset) error
}

// Sweeper is implemented by engines whose retention has to be run.
type Sweeper interface {
	// Sweep removes, in small steps, what Keep no longer asks for and every group
	// has handled, and what Hold gives up; the last event of a partition stays. It
	// returns how many events went.
	Sweep(ctx context.Context, topic string) (removed int64, err error)
}

// Page says which events of one partition to browse.
type Page struct {
	Topic     string
	Partition int
	After     string // exclusive; "" means the beginning
	Limit     int
	Backward  bool // newest first, from before After, or from the end when After is ""
}

// Browser is implemented by engines that read events without a group.
type Browser interface {
	// Browse returns at most p.Limit events. It does not wait for more.
	Browse(ctx context.Context, p Page) ([]Delivery, error)
	// Seek returns the position before the first event stored at or after t.
	Seek(ctx context.Context, topic string, partition int, t time.Time) (string, error)
	// Ends returns the last position of every partition, "" for one that never had an
	// event.
	Ends(ctx context.Context, topic string) ([]string, error)
	// Compare orders two positions of one partition as cmp.Compare does; an
	// unreadable position is ErrRefused.
	Compare(a, b string) (int, error)
}

// Patterns is implemented by engines that subscribe by pattern, see [MatchTopic].
type Patterns interface {
	// SubscribePattern is Subscribe with a pattern for spec.Topic: to all topics that
	// it matches, those of the future too. Each event comes once and names its topic.
	SubscribePattern(ctx context.Context, spec SubscribeSpec) (Subscription, error)
}

// As finds capability T on c or on anything that c wraps. A wrapper opts in to
// being looked through by having an Unwrap method; one that must see every call
// has none.
func As[T any](c Conn) (T, bool) {
	for c != nil {
		if t, ok := c.(T); ok {
			return t, true
		}
		w, ok := c.(interface{ Unwrap() Conn })
		if !ok {
			break
		}
		c = w.Unwrap()
	}
	var zero T
	return zero, false
}
