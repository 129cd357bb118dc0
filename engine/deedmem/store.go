package deedmem

import (
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// store is what the Conns of one name share. One mutex guards all of it: every
// step is short, and nothing waits while holding it.
type store struct {
	mu     sync.Mutex
	topics map[string]*topic
	// generations outlive their topics, so that a publisher that chose a partition
	// before a topic was deleted cannot write to the one that took its name.
	generations map[string]int
	// epoch is the last one given to a claim. All claims share the count, so that
	// an epoch never comes twice, not even for a group that was deleted.
	epoch   int64
	letters int64 // last ID of a side-log record
	members int   // last number of a member
	records map[string]driver.Record
	record  int64 // last version of one
	ended   bool  // the last Conn was closed
}

func newStore() *store {
	return &store{
		topics: make(map[string]*topic), generations: make(map[string]int), records: make(map[string]driver.Record),
	}
}

// end stops the timers, which would keep the store and work on it.
func (s *store) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, t := range s.topics {
		t.schedule.stop()
	}
}

// topic is a named log with its groups.
type topic struct {
	info     driver.TopicInfo
	parts    []*partition
	groups   map[string]*group
	window   window
	schedule schedule
	streams  map[string][]int64 // the positions of a stream's events in the partition of its key
	bytes    int64              // of the data in the log
	deleted  bool
}

// partition is one log of a topic.
type partition struct {
	log
	// producers holds the last sequence number stored for each. It grows by one
	// entry for each bus that ever wrote, and ends with the store.
	producers map[string]int64
}

// group is the members that share one reading of a topic.
type group struct {
	name     string
	store    *store
	topic    *topic
	created  time.Time
	lastSeen time.Time // when the last member left
	paused   bool
	run      int             // how often it was reset
	quiet    bool            // the last reset was
	unsafe   []string        // types that its handlers cannot replay
	members  []*Subscription // in the order of joining
	readings []*reading      // by partition
}

// reading is a group's standing on one partition.
type reading struct {
	position int64 // handled up to here
	// committed is the highest position that was ever settled. A reset leaves it:
	// what is delivered at or below it is a replay.
	committed int64
	fetched   int64 // given to the owner up to here
	epoch     int64
	owner     *Subscription // nil when nobody has it
	wanted    bool          // the owner has been asked to release it
	suspect   bool          // the last owner ended without a release
	rate      float64
	status    string
	dropped   int64 // unhandled events that Hold removed
	side      sideLog
	marks     map[int64]driver.Mark
}

// topicNamed returns the topic or ErrNotFound.
func (s *store) topicNamed(name string) (*topic, error) {
	t := s.topics[name]
	if t == nil {
		return nil, fmt.Errorf("mem: topic %q: %w", name, driver.ErrNotFound)
	}
	return t, nil
}

// groupNamed returns the group or ErrNotFound.
func (s *store) groupNamed(name, topic string) (*group, error) {
	t, err := s.topicNamed(topic)
	if err != nil {
		return nil, err
	}
	g := t.groups[name]
	if g == nil {
		return nil, fmt.Errorf("mem: group %q on topic %q: %w", name, topic, driver.ErrNotFound)
	}
	return g, nil
}

// now is the store's clock: wall time alone, since stored times are compared with
// those of callers.
func now() time.Time { return time.Now().UTC().Round(0) }
