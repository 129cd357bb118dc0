package driver

import (
	"context"
	"database/sql"
	"time"
)

// The interfaces below are optional: an engine implements those it can keep, and
// package deed finds them with [As]. Each is one idea. Methods are safe for
// concurrent use.

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
	// differ are not an error here: package deed compares.
	CreateTopic(ctx context.Context, name string, s TopicSettings) (TopicInfo, error)
	// Topic describes one topic, or is ErrNotFound.
	Topic(ctx context.Context, name string) (TopicInfo, error)
	// Topics lists all, by name, damaged ones too.
	Topics(ctx context.Context) ([]TopicInfo, error)
	// SetTopic changes Dedupe, Keep, Hold and MaxBytes; a changed Partitions or PartitionBy
	// is ErrRefused.
	SetTopic(ctx context.Context, name string, s TopicSettings) error
	// DeleteTopic removes a topic with its events, groups and dead letters.
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
	// Groups lists groups by (group, topic).
	Groups(ctx context.Context) ([]GroupInfo, error)
	// Lag reports every partition of the groups and topics named; "" names all.
	Lag(ctx context.Context, group, topic string) ([]PartitionLag, error)
	// DeleteGroup forgets a group with its dead letters. Running members are
	// ErrBusy.
	DeleteGroup(ctx context.Context, group, topic string) error
	// PauseGroup stops or resumes fetching for all members.
	PauseGroup(ctx context.Context, group, topic string, paused bool) error
}

// Reset says how a group's position is set.
type Reset struct {
	To    From
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
	// Ends returns the last position of every partition, "" for an empty one.
	Ends(ctx context.Context, topic string) ([]string, error)
	// Compare orders two positions of one partition as cmp.Compare does; an
	// unreadable position is ErrRefused.
	Compare(a, b string) (int, error)
}

// State is where a side-log record stands.
type State string

// The states. The first record of a key is Waiting, Redriven or Dead; those after
// it are Behind, so that order is kept.
const (
	Waiting  State = "waiting"  // to be tried when due
	Behind   State = "behind"   // held back by an earlier record of its key
	Dead     State = "dead"     // given up; holds its key back unless Aside
	Redriven State = "redriven" // dead once, marked to be tried again
)

// Letter is a record of a group's side log: a copy of an event that failed, or
// that waits behind one of the same key.
type Letter struct {
	Group, Topic string
	ID           int64 // by which administration names it
	Run          int
	Delivery
	State    State
	Aside    bool      // dead and holding nothing back: the group skips dead letters
	Due      time.Time // Waiting: when to try again
	Attempts int
	Crashes  int
	Reason   string // rejected, exhausted, undecodable, unknown version, crashed …
	Error    string
	Stack    string
	Failed   time.Time // when it last failed
	Edits    []Edit    // oldest first
}

// Parked is one event for [SideLog.Park]. After replaces Letter.Due, so that one
// clock, the engine's, decides.
type Parked struct {
	Letter
	After time.Duration
}

// Mark remembers trouble with an event that is not in the side log.
type Mark struct {
	Position string
	Attempts int
	Crashes  int
}

// SideLog is implemented by engines that keep parked events and dead letters of a
// (group, topic, partition), fenced by the claim: every method with a Claim is
// ErrFenced under a newer epoch and has then written nothing.
type SideLog interface {
	// Park adds or replaces records, by (position, run). One that asks for Behind
	// and is there already stays as it is, since only its first coming was behind
	// something: it was delivered again after a crash. A new one that asks for it
	// while no earlier record of its key remains becomes Waiting, due now,
	// in the same atomic step, so that nothing is left behind for ever.
	Park(ctx context.Context, c Claim, ps []Parked) error
	// Unpark removes records that were handled, the oldest run's that is not dead
	// where several runs parked a position, and makes the next record of each
	// key Waiting, due now. It returns the keys of which nothing is left.
	Unpark(ctx context.Context, c Claim, positions []string) (empty []string, err error)
	// Due returns the first record of at most limit keys that may be tried now:
	// Waiting and due, or Redriven. Keyless records are keys of their own.
	Due(ctx context.Context, c Claim, limit int) ([]Letter, error)
	// Chain returns the first records of a key in order.
	Chain(ctx context.Context, c Claim, key string, limit int) ([]Letter, error)
	// ParkedKeys returns at most limit keys that hold events back.
	ParkedKeys(ctx context.Context, c Claim, limit int) ([]string, error)
	// SetMarks stores marks by position; one without attempts and crashes is
	// removed. Settle removes those at or below the position it stores.
	SetMarks(ctx context.Context, c Claim, ms []Mark) error
	// Marks returns all marks above the claim's position.
	Marks(ctx context.Context, c Claim) ([]Mark, error)
}

// LetterFilter selects records. Zero fields select all.
type LetterFilter struct {
	IDs          []int64
	Group, Topic string
	Key, Type    string
	States       []State
	Since        time.Time
	After        int64 // ID, exclusive, for paging
	Limit        int   // 0 means 1000
}

// Letters is implemented by engines whose side log can be administered. It needs
// no claim: it marks, and the claim's owner acts.
type Letters interface {
	// List returns records by ID.
	List(ctx context.Context, f LetterFilter) ([]Letter, error)
	// Redrive marks dead letters Redriven and returns how many.
	Redrive(ctx context.Context, ids []int64) (int, error)
	// Discard removes dead letters for good; what waits behind them goes on.
	Discard(ctx context.Context, ids []int64) (int, error)
}

// LetterEditor is implemented by engines whose dead letters can be corrected.
type LetterEditor interface {
	// Edit replaces the data of a dead letter. Who, why and the data before are kept
	// in the letter's Edits.
	Edit(ctx context.Context, id int64, e Edit) error
}

// Edit is a change of a dead letter's data.
type Edit struct {
	At   time.Time // set by the engine
	By   string
	Why  string
	Data []byte // what to put in its place; in Letter.Edits: what it was before
}

// Patterns is implemented by engines that subscribe by pattern, see [MatchTopic].
type Patterns interface {
	// SubscribePattern is Subscribe with a pattern for spec.Topic: to all topics that
	// it matches, those of the future too. Each event comes once and names its topic.
	SubscribePattern(ctx context.Context, spec SubscribeSpec) (Subscription, error)
}

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
