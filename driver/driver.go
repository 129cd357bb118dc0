// Package driver is the contract between package deed and an engine, the place
// where topics live.
//
// Applications never import this package; they use package deed, which owns
// batching, retries, parking, concurrency, tracing and shutdown. Engine authors
// implement [Conn] and [Subscription], seven methods in all, and whichever of the
// small interfaces in capability.go their engine can keep. Package drivertest
// checks the result, package driverkit helps to build it, and docs/engine-authors.md
// walks through one.
//
// # Division of labour
//
// The engine moves events and reports what happened. It decides nothing: it does
// not retry, log, drop or reorder, and no goroutine of it outlives Close. What an
// engine promises is a value, [Features]; what it does not promise is refused by
// package deed when a program starts, not when the first event is lost.
//
// # What an engine may take for granted
//
// Names of topics and groups are 1 to 200 letters, digits and "._-" that do not start with a
// dot or dash; in a pattern there are "*" too. An engine that keeps the state of another, see
// driverkit.WithState, also gets topics whose names have slashes inside, and positions of that
// other one, which are decimal numbers. Text in a [Message] is any UTF-8. Partitions are
// numbered from 0. All else may be wrong, and what is wrong is ErrRefused or ErrNotFound.
//
// # What a caller may take for granted
//
// What is passed to a method is the caller's again when it returns, slices and maps
// included, and what a method returns is the caller's from then on, to be written into too.
// Strings are shared.
//
// A context bounds its call and nothing else. When it ends the call returns soon, with an
// error that wraps the context's; what it had begun may still happen. Close has no context:
// it waits for what is in flight no longer than the engine waits for its server.
//
// Leases and due times are by one clock for all processes, the server's where there is one;
// [Delivery].Stored and [TopicInfo].Created are by the same.
//
// # Errors
//
// An engine wraps one of the sentinels below where one fits, and returns its SDK's error
// otherwise. Package deed takes any other error for one that passes, and tries again.
//
// [NothingStored] says after which errors a write is sure to have stored nothing. With any
// other the outcome is unknown, also when the context ended: an engine that has sent nothing
// yet says ErrNotStored as well.
//
// All other calls may be repeated when their outcome is unknown: a Settle, Park or Unpark
// that is done twice does what one would have done.
//
// # Growth
//
// Structs here get new fields, whose zero values mean what was before, and new interfaces may
// come, which no engine has to implement. Interfaces get no new methods. So an engine names
// the fields of its composite literals. Features stays comparable.
package driver

import (
	"context"
	"errors"
	"time"
)

// Errors an engine reports by wrapping them.
var (
	// ErrClosed means that the Conn or Subscription was closed before the call began to do
	// anything: nothing was stored. A call that Close interrupts later wraps it only when
	// that is sure.
	ErrClosed = errors.New("closed")
	// ErrNotFound means that the topic, group, record or dead letter does not exist. Where
	// members get it, the topic or group was deleted, and they end.
	ErrNotFound = errors.New("not found")
	// ErrFenced means that a newer epoch owns the partition: nothing was written.
	// The caller stops its handlers and forgets the partition.
	ErrFenced = errors.New("fenced by a newer claim")
	// ErrGap means that a batch does not continue its producer's sequence: an
	// earlier batch is missing and nothing of this one was stored.
	ErrGap = errors.New("gap in the producer's sequence")
	// ErrRefused means that the engine will never accept this, so that trying
	// again is pointless: too large, read-only, wrong partition count. Nothing
	// was stored. The text says what to change.
	ErrRefused = errors.New("refused")
	// ErrNotStored means that nothing was stored, and that trying again may help.
	ErrNotStored = errors.New("not stored")
	// ErrFull means that the topic is at its MaxBytes and that a group holds what it
	// could drop. Nothing was stored; the text names the group. Trying again helps
	// when that group gets on.
	ErrFull = errors.New("the topic is full")
	// ErrLost means that the engine no longer has what it had acknowledged, as a server
	// that came back empty. With ErrNotFound it says that a topic or group is gone
	// that nobody deleted: whoever needs it makes it anew.
	ErrLost = errors.New("lost by the engine")
	// ErrAway means that the engine cannot be reached now, and that it may come back. Of
	// Subscribe it is waited for; of calls that write it says nothing about the outcome.
	ErrAway = errors.New("out of reach")
	// ErrBusy means that the group has members, which the call does not accept.
	ErrBusy = errors.New("the group has running members")
)

// NothingStored reports whether a Publish, AppendStream or PutRecord that failed with err is
// sure to have stored nothing.
func NothingStored(err error) bool {
	for _, s := range [...]error{
		ErrNotStored, ErrRefused, ErrGap, ErrFull, ErrConflict, ErrNotFound, ErrClosed,
	} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// Message is an event as an engine stores it. An engine preserves every field: Time to the
// nanosecond, though not its zone, and no difference between nil and empty.
type Message struct {
	ID      string    // with Source: the event's identity
	Source  string    // URI-reference of the publisher
	Type    string    // explicit name, "orders.created"
	Version int       // of the type, from 1
	Key     string    // what order is kept by; "" means no order
	Time    time.Time // when it happened; zero when unknown
	// ContentType is the media type of Data, CloudEvents' datacontenttype; "" means
	// JSON.
	ContentType string
	// Attributes holds every other CloudEvents attribute by its lower-case name:
	// subject, dataschema and extensions. Nil is allowed.
	Attributes map[string]string
	Data       []byte
	NotBefore  time.Time // zero means now; needs Features.Delay
}

// Batch is what one producer appends to one partition: all of it or nothing. Where an engine
// takes several steps for it, as Kafka does for a large one, a part may be stored when the
// outcome is unknown, and then only.
type Batch struct {
	Topic      string
	Generation int // the one that the partition was chosen for; of another topic life it is ErrRefused, 0 is not checked
	Partition  int
	// Producer and Seq make an append idempotent. Seq numbers the first message;
	// the others follow. Sequences of one (Producer, Topic, Partition) are
	// contiguous from 1: messages at or below the last one stored succeed without
	// being stored again, a batch that starts after the next one is ErrGap. So a batch
	// without messages stores nothing, and is ErrGap when something before Seq is not
	// there: by it a producer asks whether what was acknowledged is still stored. An
	// empty Producer asks for a plain append.
	Producer string
	Seq      int64
	Messages []Message
}

// Receipt is what became of a Batch. Its Err is for this batch alone: the others may be
// stored.
type Receipt struct {
	// Stored counts the messages that this call added; the others were there
	// already, by sequence or by the topic's dedupe window.
	Stored int
	// Last is the position of the batch's last stored message, "" when none was
	// stored or when the engine cannot tell.
	Last string
	// Err is the batch's own failure; see the sentinels.
	Err error
}

// Delivery is a Message on its way to a handler.
type Delivery struct {
	Message
	Partition int
	// Position is where the event lies in its partition, the same for every group and
	// reader as long as the topic lives. It is opaque, and comparable for equality only,
	// see Browser.Compare: 1 to 64 printable ASCII characters without space and comma,
	// which cursors have between them.
	Position string
	Stored   time.Time // when the engine stored it
	Replay   bool      // at or below what the group had committed before a reset
	// Unreadable says why the engine cannot read what another program stored there; it
	// is "" for all that deed stored. Such an event becomes a dead letter of every group.
	// A side log keeps the text with the event.
	Unreadable string
	Topic      string // where it was published, from a subscription by pattern; else ""
}

// Claim is a member's fenced right to one partition of one topic for one group.
type Claim struct {
	Group     string
	Topic     string
	Partition int
	Epoch     int64  // from 1, larger than any before for this partition, also when the group or topic is made anew
	Position  string // what the group has handled; "" means nothing
	// Suspect says that the previous owner ended without Release: what it was
	// handling may have killed it.
	Suspect bool
	Run     int // how often the group was reset on this topic
	// Quiet says that the last reset was: deliveries marked Replay go to replay-safe
	// handlers only.
	Quiet bool
}

// Fetch says how much Receive may return. Package deed never asks for more than
// it has room for.
type Fetch struct {
	Events int   // most deliveries
	Bytes  int   // most bytes of data; one event above it is returned alone
	Full   []int // partitions without room: fetch nothing from these
}

// Received is what Receive returns. Its fields happened in this order: a partition
// that is Lost and Granted was claimed again, and deliveries come after the claims
// that allow them.
type Received struct {
	// Lost partitions belong to this member no longer.
	Lost       []int
	Granted    []Claim
	Deliveries []Delivery // per partition in order of position, without gaps
	// Wanted partitions should move to another member: handle what was fetched,
	// then Settle with Release. Nothing more is fetched from them. Each is named once, and
	// stays this member's until it is released or Lost.
	Wanted []int
	// Stopped are partitions that cannot be read on, and those that can again. The
	// engine goes on trying by itself, and reports each change once.
	Stopped []Stopped
	// Missed is what passed the member by since the last call, on an ephemeral engine.
	Missed Missed
}

// Any reports whether there is something to hear.
func (r *Received) Any() bool {
	m := &r.Missed
	return len(r.Lost)+len(r.Granted)+len(r.Deliveries)+len(r.Wanted)+len(r.Stopped) > 0 ||
		m.Events > 0 || m.Deaf != nil || m.Back > 0
}

// Stopped says that a partition cannot be read on: the engine met there what it cannot
// pass over without losing something, and the text says how to go on. The others do.
type Stopped struct {
	Partition int
	Err       error // nil when the partition goes on
}

// Settlement reports the progress of one claimed partition.
type Settlement struct {
	Partition int
	Epoch     int64
	// Position is the low watermark: this event and all before it are handled,
	// parked or dead. "" leaves the position as it is, as does one that the group is past.
	Position string
	Release  bool // hand the partition over, cleanly; nothing is in flight
	// Rate and Status are shown beside the lag: events handled a second, and why
	// the partition does not move, "" when it does.
	Rate   float64
	Status string
}

// From is a place in a topic: where a group that does not exist yet starts, or is reset to.
// The zero value is the beginning. At most one field is set.
type From struct {
	End    bool
	Time   time.Time
	Cursor map[int]string // position by partition, exclusive; one that is not named starts at the beginning
}

// SubscribeSpec says what to read.
type SubscribeSpec struct {
	Topic string
	Group string
	From  From
	// Lease is how long a member that went silent keeps its partitions. The engine renews it
	// for as long as the subscription is open, whether or not Receive is called: a handler may
	// take longer than it.
	Lease time.Duration
	// Unsafe names the types, "" for any, whose handlers are not replay-safe. It is
	// remembered with the group, for whoever resets it.
	Unsafe []string
}

// Missed says what a member on an ephemeral engine did not get, and never will. Zero
// is nothing.
type Missed struct {
	Events int64 // came when the member had no room, the oldest of those that waited
	// Deaf is why the member hears nothing any more: the connection was lost. Nobody
	// knows what is published until it is back.
	Deaf error
	Back time.Duration // it hears again, after so long
}

// Conn is a connection to an engine. Its methods are safe for concurrent use.
type Conn interface {
	// Publish appends each batch, batches of one partition in slice order, and
	// returns when they are as durable as Features promises. The receipts are
	// parallel to batches. A non-nil error speaks for all of them, and there are no
	// receipts then.
	Publish(ctx context.Context, batches []Batch) ([]Receipt, error)

	// Subscribe joins the group, which it creates where there is none, at spec.From. ctx
	// bounds the call, not the Subscription. An absent topic is ErrNotFound. On an
	// ephemeral engine the group is a name for logs, there are no topics to be absent, and
	// whatever is published after Subscribe has returned is heard: as partition 0, granted
	// once and for all.
	Subscribe(ctx context.Context, spec SubscribeSpec) (Subscription, error)

	// Features reports what the engine guarantees as it is configured. It does not
	// block and its answer never changes.
	Features() Features

	// Close ends everything at once, claims without release included; package
	// deed has drained by then. A second Close does nothing.
	Close() error
}

// Subscription is one member's part in a group on one topic. Receive is called by
// one goroutine at a time; Settle and Close may run beside it, and beside each other.
type Subscription interface {
	// Receive blocks until it has anything to report or ctx is done. Ending ctx
	// loses nothing: what was not returned is returned by the next call. A delivery comes
	// once under its claim; whoever is granted the partition next gets all above the
	// settled position anew.
	//
	// After ErrClosed, ErrRefused and ErrNotFound the member ends, after ErrLost it joins
	// anew; after any other error it calls again, so the engine has lost nothing by it.
	Receive(ctx context.Context, f Fetch) (Received, error)

	// Settle stores progress, fenced by each claim's epoch, and returns the
	// partitions for which a newer epoch exists; the others are stored. After an error
	// any of them may be, and the caller settles again.
	Settle(ctx context.Context, s []Settlement) (lost []int, err error)

	// Close leaves the group. Partitions that were not released are suspect to
	// their next owner. A second Close does nothing.
	Close() error
}
