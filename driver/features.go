package driver

import "fmt"

// Class is what an accepted event survives. Classes are ordered.
type Class uint8

// The durability classes, weakest first.
const (
	Memory  Class = iota + 1 // nothing: lost with the process or server
	Process                  // kill -9 of every process
	Power                    // one node losing power
	Quorum                   // the loss of a minority of nodes
)

var classNames = [...]string{Memory: "memory", Process: "process", Power: "power", Quorum: "quorum"}

// String returns the class's name.
func (c Class) String() string {
	if int(c) < len(classNames) && classNames[c] != "" {
		return classNames[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Features is an engine's promise. Package deed checks it when a program asks for
// something, package drivertest checks that it is true, and docs/engines.md is
// generated from it. The zero value promises nothing, so that a field which is added does not
// make an older engine promise it.
type Features struct {
	Engine     string // "sqlite", as in the URL scheme
	Durability Class  // as the server is really configured
	Setting    string // what to change for a higher class, "" when nothing helps
	Advice     string // how to have groups set back and events read again, "" when nothing helps

	KeyOrder     bool // events of one key are delivered in publish order
	Groups       bool // consumers share a topic, each event goes to one of them
	Backlog      bool // a new group gets what was published before it
	Fenced       bool // a member that lost a partition cannot settle it
	DensePos     bool // positions of a partition count 1, 2, 3 …, as text
	Sequence     bool // producer sequences are checked; without it what may be stored is not sent again
	Dedupe       bool // a topic may have an id window
	SideLog      bool // parked events and dead letters are kept beside the topic
	Lag          bool // lag is known in events and seconds
	Browse       bool // events can be read without a group, and again
	Delay        bool // Message.NotBefore is kept
	Reset        bool // a group can be set back, and replays are told apart
	Retention    bool // Keep, Hold and MaxBytes are kept
	MultiProcess bool // several processes share it
	Pack         bool // a topic may store batches as one entry each
	Streams      bool // a topic may be of streams, to which one appends with an expected version
	Records      bool // small documents are kept, each with a version

	// Ephemeral says that nothing is stored: an event goes to whoever listens when it
	// is published, to each once at most, and to nobody later. Such an engine has no
	// topics, groups, retries or dead letters, and settling does nothing.
	Ephemeral bool
	Patterns  bool // a subscription may be to all topics that a pattern matches

	// Flights is how many Publish calls at once the engine gains by; 0 means one. Each
	// is of a producer of its own.
	Flights int

	MaxEventBytes int   // largest Data; 0 means no limit of the engine's own
	MaxTopicBytes int64 // MaxBytes of a topic that does not say; 0 means no bound
}

// Otherwise is the advice for whoever is refused something, to be put behind the refusal.
func (f Features) Otherwise() string {
	if f.Advice == "" {
		return ""
	}
	return " (" + f.Advice + ")"
}
