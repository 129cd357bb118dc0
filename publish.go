package deed

import "context"

// Publish announces drafts and returns when they are durable. Those of one key are
// stored in the order given. On failure a *PublishError tells which drafts are
// surely not stored and which are unknown; deed's own retries never store twice.
func (b *Bus) Publish(ctx context.Context, drafts ...Draft) error { panic("later today") }

// Receipt is what became of a published batch of drafts.
type Receipt struct {
	Stored     int // newly stored
	Duplicates int // inside the topic's dedupe window, and not stored again
}

// PublishReceipt is Publish for callers who want to know about duplicates.
func (b *Bus) PublishReceipt(ctx context.Context, drafts ...Draft) (Receipt, error) {
	panic("later today")
}

// PublishError is a failed Publish.
type PublishError struct {
	Topic     string
	NotStored []int // indexes of drafts that are surely not stored
	Unknown   []int // indexes of drafts that may be stored
	Err       error // the first cause
}

func (e *PublishError) Error() string { panic("later today") }
func (e *PublishError) Unwrap() error { return e.Err }

// Sequenced is a run of drafts with producer stamps, for relays that keep events
// in a store of their own and must repeat identical stamps after a crash.
type Sequenced struct {
	Topic     *Topic
	Partition int
	Producer  string
	Seq       int64 // of the first event; contiguous per (Producer, Topic, Partition) from 1
	Events    []Event
}

// PublishSequenced appends each run with its own stamps. The errors are parallel
// to runs: nil means stored, now or before.
func (b *Bus) PublishSequenced(ctx context.Context, runs []Sequenced) []error { panic("later today") }

// Prepare fills what a draft left empty, as Publish does, encodes its value and
// checks it: for outboxes, which store events before they are published.
func Prepare(ctx context.Context, d Draft, source string) (Event, error) { panic("later today") }

// Partition returns the partition of e on topic, creating the topic if it has to.
// Events without key are spread.
func (b *Bus) Partition(ctx context.Context, t *Topic, e Event) (int, error) { panic("later today") }

type publisher struct{}

func newPublisher(*Bus) *publisher { return &publisher{} }
func (*publisher) close()          {}

type topicCache struct{}
