package deedsql

import (
	sqldriver "database/sql/driver"
	"errors"
	"iter"

	"github.com/deedgo/deed/driver"
)

// tables is how a database stores events, the ends of partitions and the last sequence
// numbers of producers: what is written and read most.
type tables interface {
	// flush writes the events that were gathered.
	flush(t *tx, b *rowBuffer) error
	// next returns the number of the next row, where rows have one.
	next(t *tx) (int64, error)
	// read returns the statement of a query for position, time of storing, meta and data.
	read(q *logQuery) (query string, args []sqldriver.Value)
	// stream returns the statement for those of a page of a stream, by version.
	stream(topic int64, partition int, p *driver.StreamPage) (query string, args []sqldriver.Value)
	// storedAt is the query for when a position, or else the first one after it, was stored.
	storedAt(topic int64, partition int, at int64) (query string, args []any)
	// front calls scan for the first events of a partition, with when they were stored
	// and their bytes of data, until it returns false, and for no more than limit. Flush
	// comes before.
	front(t *tx, at place, limit int, scan func(position, stored, bytes int64) bool) error
	// cut removes the first events of a partition, those up to a position. Flush comes
	// before.
	cut(t *tx, at place, upTo int64) error
	// drop removes some events of a topic that was deleted and returns how many.
	drop(t *tx, topic int64, limit int) (removed int64, err error)
	// addHeads makes the partitions of a new topic.
	addHeads(t *tx, topic int64, partitions int) error
	// dropHeads removes them.
	dropHeads(t *tx, topic int64) error
	// head reads the end of a partition; sql.ErrNoRows when there is no such partition.
	head(t *tx, at place) (*head, error)
	// writeHeads writes those that are dirty.
	writeHeads(t *tx) error
	// producer reads a producer's last number, 0 for none.
	producer(t *tx, key producerKey) (*producer, error)
	// writeProducers writes those that are dirty.
	writeProducers(t *tx) error
	// addKind stores a kind and returns its number.
	addKind(t *tx, k kind) (int64, error)
	dues
}

const (
	runEvents   = 1024 // most events of a run
	flushEvents = 1000 // rows that are held back
)

// rowBuffer gathers rows of the log into inserts of many rows, which cost half.
type rowBuffer struct {
	metas []byte // one behind the other
	ends  []int  // where each ends
	datas [][]byte
	runs  []run
	args  []sqldriver.Value // reused
}

// run is a run of events that were stored at once.
type run struct {
	place
	position int64 // of the first event
	row      int64 // of the first event, where rows have a number
	count    int64
	stored   int64
}

// add appends an event to the log. The message's data is read before the job of the
// transaction ends.
func (t *tx) add(at place, position, stored int64, m *driver.Message) error {
	number, err := t.kind(kindOf(m))
	if err != nil {
		return err
	}
	t.keep(at, position, stored, m)
	t.rows.metas = appendMeta(t.rows.metas, m, number)
	return t.added(at, position, stored, m.Data)
}

// added completes the event whose meta was gathered last.
func (t *tx) added(at place, position, stored int64, data []byte) error {
	row, err := t.addRow(data)
	if err != nil {
		return err
	}
	return t.put(at, position, stored, row)
}

// addRow is added for an event that has no position yet. It returns its row.
func (t *tx) addRow(data []byte) (row int64, err error) {
	if row, err = t.tables.next(t); err != nil {
		return 0, err
	}
	b := t.rows
	b.ends = append(b.ends, len(b.metas))
	b.datas = append(b.datas, data)
	return row, nil
}

// put gives a row of the log its position, and writes what was gathered when it is much.
func (t *tx) put(at place, position, stored, row int64) error {
	b := t.rows
	if last := len(b.runs) - 1; last >= 0 && b.runs[last].continues(at, position, stored, row) {
		b.runs[last].count++
	} else {
		b.runs = append(b.runs, run{place: at, position: position, row: row, count: 1, stored: stored})
	}
	return t.flushFull()
}

func (t *tx) flushFull() error {
	if len(t.rows.datas) < flushEvents && len(t.rows.runs) < flushEvents {
		return nil
	}
	return t.tables.flush(t, t.rows)
}

// continues reports whether an event belongs to the run.
func (r *run) continues(at place, position, stored, row int64) bool {
	behind := row == 0 || r.row+r.count == row // where rows have numbers
	return behind && r.place == at && r.position+r.count == position && r.stored == stored && r.count < runEvents
}

// texts goes through what stands beside the data of each event.
func (b *rowBuffer) texts() iter.Seq2[int, string] {
	metas := string(b.metas) // one allocation for all
	return func(yield func(int, string) bool) {
		start := 0
		for i, end := range b.ends {
			if !yield(i, metas[start:end]) {
				return
			}
			start = end
		}
	}
}

// reset drops what was gathered.
func (b *rowBuffer) reset() {
	clear(b.datas) // they belong to callers
	clear(b.args)
	b.metas, b.ends, b.datas, b.runs, b.args = b.metas[:0], b.ends[:0], b.datas[:0], b.runs[:0], b.args[:0]
}

// maxKinds bounds deed_kind, which is in memory wherever events are stored or read.
const maxKinds = 4096

// kind returns the number of k, 0 when there are too many.
func (t *tx) kind(k kind) (int64, error) {
	if k == t.known.lastKind && t.known.lastNumber > 0 {
		return t.known.lastNumber, nil // as of the event before: the usual case
	}
	if t.known.kinds == nil {
		kinds := make(map[kind]int64)
		err := t.session.each(selectKinds, func(row []sqldriver.Value) bool {
			number, k := scanKind(row)
			kinds[k] = number
			return true
		})
		if err != nil {
			return 0, err
		}
		t.known.kinds = kinds
	}
	number := t.known.kinds[k]
	if number == 0 && len(t.known.kinds) < maxKinds {
		var err error
		if number, err = t.tables.addKind(t, k); err != nil {
			return 0, err
		}
		t.known.kinds[k] = number
	}
	t.known.lastKind, t.known.lastNumber = k, number
	return number, nil
}

const selectKinds = "SELECT kind, source, type, version, content_type FROM deed_kind"

func scanKind(row []sqldriver.Value) (number int64, k kind) {
	number, _ = row[0].(int64)
	k.source, k.name = text(row[1]), text(row[2])
	version, _ := row[3].(int64)
	k.version = int(version)
	k.contentType = text(row[4])
	return number, k
}

// text reads a column that holds text, which is bytes where it need not be UTF-8.
func text(v sqldriver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	s, _ := v.(string)
	return s
}

// errGap says that the log does not hold what its partition should.
var errGap = errors.New("a gap in the log (restore the database from a backup)")
