package deedsql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/deedgo/deed/driver"
)

// tx is one write transaction. It reads topics, heads and producers once and
// writes what changed at the end, so that many small batches cost few statements.
type tx struct {
	*statements
	session *session
	tables  tables
	needs   *needs
	known   *known
	time    time.Time
	now     int64 // nanoseconds

	topics    map[string]*topic // the known ones
	heads     map[place]*head
	producers map[producerKey]*producer
	rows      *rowBuffer
	dues      []dueEvent             // scheduled, where they are not written at once
	kept      func(topic int64) bool // events of the topic are kept in memory
	blocks    []*block               // of those
	keeping   bool                   // the batch that is being stored
	expected  int                    // events of that
	data      []byte                 // room for their data
	stored    int                    // events given a position

	published map[int64]bool // topics that got events
	delayed   map[int64]bool // topics that have delayed events
	swept     map[int64]bool // topics at their bound, from which nothing more may go
	groups    bool           // seats or claims changed in a way that members act on
}

type place struct {
	topic     int64
	partition int
}

// head is the end of a partition.
type head struct {
	position  int64
	stored    int64 // never goes back, so that Seek can search
	removed   int64 // positions up to here are gone
	bytes     int64 // of data in the log
	gone      int64 // bytes of data that were removed, where that is stored
	scheduled int64 // delayed events
	dueBytes  int64 // of their data
	dirty     bool
	was       changing // as it was read
}

// changing is what others than the holder of a partition's lock may change of its head.
type changing struct{ removed, gone, scheduled, dueBytes int64 }

func (h *head) changing() changing { return changing{h.removed, h.gone, h.scheduled, h.dueBytes} }

type producerKey struct {
	name string
	place
}

type producer struct {
	last  int64
	at    int64 // when that was, within producerAge
	dirty bool
}

// known is what a writer keeps between its transactions, as long as nobody else
// commits and nothing is rolled back: it need not be read again.
type known struct {
	time      time.Time // when the transaction began
	version   int64     // of the database, changed by others' commits
	topics    map[string]*topic
	heads     map[place]*head
	producers map[producerKey]*producer
	intakes   map[int64]map[int]bool // partitions by topic, see tx.intakes

	rows       rowBuffer
	row        int64 // the last of deed_log
	rowKnown   bool
	kinds      map[kind]int64
	lastKind   kind
	lastNumber int64
}

// knownProducers bounds what is kept. Each process that publishes is one producer on
// each partition.
const knownProducers = 1 << 14

func newKnown(version int64) *known {
	return &known{
		version: version, topics: make(map[string]*topic), heads: make(map[place]*head),
		producers: make(map[producerKey]*producer), intakes: make(map[int64]map[int]bool),
	}
}

func newTx(s *session, k *known, n *needs, kept func(int64) bool) *tx {
	if len(k.producers) > knownProducers {
		clear(k.producers)
	}
	k.rows.reset()
	return &tx{
		statements: s.statements, session: s, tables: s.dialect.tables(), needs: n,
		known: k, rows: &k.rows, kept: kept, time: k.time, now: k.time.UnixNano(),
		topics: k.topics, heads: make(map[place]*head), producers: make(map[producerKey]*producer),
		published: make(map[int64]bool), delayed: make(map[int64]bool), swept: make(map[int64]bool),
	}
}

// lock makes sure that the transaction holds locks. A job whose lock is missing returns
// the error before it has written anything, and runs again when all are there.
func (t *tx) lock(locks ...lock) error {
	var missing []lock
	for _, l := range locks {
		if !t.needs.holds(l) {
			missing = append(missing, l)
		}
	}
	if missing == nil || !t.dialect.shared() {
		return nil
	}
	return &unlocked{missing}
}

// try is lock for what another process may as well do: it reports whether nobody else
// is at it.
func (t *tx) try(l lock) (bool, error) {
	if t.needs.holds(l) {
		return true, nil
	}
	return t.dialect.try(t, l)
}

// topic returns a topic that is known, nil for none.
func (k *known) topic(name string) *topic {
	if k == nil {
		return nil
	}
	return k.topics[name]
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	values := make([]sqldriver.Value, len(args))
	for i, arg := range args {
		if yes, ok := arg.(bool); ok { // columns have 0 and 1
			arg = 0
			if yes {
				arg = 1
			}
		}
		var err error
		if values[i], err = sqldriver.DefaultParameterConverter.ConvertValue(arg); err != nil {
			return 0, err
		}
	}
	r, err := t.session.exec(query, values...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// topic returns a topic by name.
func (t *tx) topic(name string) (*topic, error) {
	if found := t.topics[name]; found != nil {
		return found, nil
	}
	found, err := readTopic(t.statements, name)
	if err != nil {
		return nil, err
	}
	t.topics[name] = found
	return found, nil
}

// head returns the end of a partition, which the caller may move.
func (t *tx) head(p place) (*head, error) {
	if h := t.heads[p]; h != nil {
		return h, nil
	}
	if h := t.known.heads[p]; h != nil {
		t.heads[p] = h
		return h, nil
	}
	h, err := t.tables.head(t, p)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: the topic has no partition %d", driver.ErrRefused, p.partition)
	}
	if err != nil {
		return nil, err
	}
	t.heads[p], t.known.heads[p] = h, h
	return h, nil
}

// producer returns the last sequence number of a producer.
func (t *tx) producer(name string, at place) (*producer, error) {
	key := producerKey{name, at}
	if p := t.producers[key]; p != nil {
		return p, nil
	}
	if p := t.known.producers[key]; p != nil {
		t.producers[key] = p
		return p, nil
	}
	p, err := t.tables.producer(t, key)
	if err != nil {
		return nil, err
	}
	t.producers[key], t.known.producers[key] = p, p
	return p, nil
}

// flush writes what is held back. Jobs that read heads or the log in SQL call it
// first; the writer calls it before the commit.
func (t *tx) flush() error {
	if err := t.tables.flush(t, t.rows); err != nil {
		return err
	}
	if err := t.tables.writeDues(t); err != nil {
		return err
	}
	if err := t.tables.writeHeads(t); err != nil {
		return err
	}
	return t.tables.writeProducers(t)
}

// producerAge is how long a producer's time stays as it is: it has an index, and so
// costs more to change than all the rest.
const producerAge = time.Minute

// forget drops what is known of a topic, after flush.
func (t *tx) forget(name string, id int64) {
	delete(t.topics, name)
	of := func(at place) bool { return at.topic == id }
	for _, heads := range []map[place]*head{t.heads, t.known.heads} {
		maps.DeleteFunc(heads, func(at place, _ *head) bool { return of(at) })
	}
	for _, producers := range []map[producerKey]*producer{t.producers, t.known.producers} {
		maps.DeleteFunc(producers, func(key producerKey, _ *producer) bool { return of(key.place) })
	}
	delete(t.published, id)
	delete(t.delayed, id)
}
