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
	known   *known
	time    time.Time
	now     int64 // nanoseconds

	topics    map[string]*topic // the known ones
	heads     map[place]*head
	producers map[producerKey]*producer
	rows      *rowBuffer
	dues      []dueEvent             // scheduled, not written yet
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
	scheduled int64 // delayed events
	dueBytes  int64 // of their data
	dirty     bool
}

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
	version   int64 // of the database, changed by others' commits
	topics    map[string]*topic
	heads     map[place]*head
	producers map[producerKey]*producer

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
		producers: make(map[producerKey]*producer),
	}
}

func newTx(st *statements, s *session, k *known, kept func(int64) bool, now time.Time) *tx {
	if len(k.producers) > knownProducers {
		clear(k.producers)
	}
	k.rows.reset()
	return &tx{
		statements: st, session: s, known: k, rows: &k.rows, kept: kept, time: now, now: now.UnixNano(),
		topics: k.topics, heads: make(map[place]*head), producers: make(map[producerKey]*producer),
		published: make(map[int64]bool), delayed: make(map[int64]bool), swept: make(map[int64]bool),
	}
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	values := make([]sqldriver.Value, len(args))
	for i, arg := range args {
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
	h := &head{}
	err := t.row("SELECT position, stored_at, removed, bytes, scheduled, due_bytes FROM deed_head "+
		"WHERE topic_id = ? AND partition = ?", []any{p.topic, p.partition},
		&h.position, &h.stored, &h.removed, &h.bytes, &h.scheduled, &h.dueBytes)
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
	p := &producer{}
	err := t.row("SELECT last_seq, at FROM deed_producer WHERE producer = ? AND topic_id = ? AND partition = ?",
		[]any{name, at.topic, at.partition}, &p.last, &p.at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	t.producers[key], t.known.producers[key] = p, p
	return p, nil
}

// flush writes what is held back. Jobs that read heads or the log in SQL call it
// first; the writer calls it before the commit.
func (t *tx) flush() error {
	if err := t.rows.flush(t); err != nil {
		return err
	}
	if err := t.flushDues(); err != nil {
		return err
	}
	values := t.rows.args[:0]
	for at, h := range t.heads {
		if h.dirty {
			values = append(values, at.topic, int64(at.partition),
				h.position, h.stored, h.removed, h.bytes, h.scheduled, h.dueBytes)
			h.dirty = false
		}
	}
	if err := updateHeads.exec(t.session, values); err != nil {
		return err
	}
	values = values[:0]
	var late []sqldriver.Value
	for key, p := range t.producers {
		switch {
		case !p.dirty:
			continue
		case t.now-p.at < int64(producerAge):
			values = append(values, key.name, key.topic, int64(key.partition), p.last, p.at)
		default:
			p.at = t.now
			late = append(late, key.name, key.topic, int64(key.partition), p.last, p.at)
		}
		p.dirty = false
	}
	t.rows.args = values[:0]
	if err := updateProducers.exec(t.session, values); err != nil {
		return err
	}
	return renewProducers.exec(t.session, late)
}

// producerAge is how long a producer's time stays as it is: it has an index, and so
// costs more to change than all the rest.
const producerAge = time.Minute

// The rows of heads are there already.
var (
	updateHeads = newBulk("deed_head (topic_id, partition, position, stored_at, removed, bytes, scheduled, due_bytes)",
		"ON CONFLICT (topic_id, partition) DO UPDATE SET position = excluded.position, stored_at = excluded.stored_at, "+
			"removed = excluded.removed, bytes = excluded.bytes, scheduled = excluded.scheduled, "+
			"due_bytes = excluded.due_bytes")
	intoProducers   = "deed_producer (producer, topic_id, partition, last_seq, at)"
	onProducer      = "ON CONFLICT (producer, topic_id, partition) DO UPDATE SET last_seq = excluded.last_seq"
	updateProducers = newBulk(intoProducers, onProducer)
	renewProducers  = newBulk(intoProducers, onProducer+", at = excluded.at")
)

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
