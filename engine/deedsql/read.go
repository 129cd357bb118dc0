package deedsql

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

// logQuery selects events of one partition: those after a position, or with backward
// those before it, the latest first.
type logQuery struct {
	topic     int64
	partition int
	at        int64
	backward  bool
	limit     int
	room      int  // bytes of data; the event that does not fit ends the reading
	alone     bool // the first event may be larger than that
}

// read appends the events of a query to got and completes them with what their kind
// says. Full says that room ended it.
func (k *kinds) read(s *session, q logQuery, got []driver.Delivery) (_ []driver.Delivery, full bool, err error) {
	query, args := s.dialect.tables().read(&q)
	rows := rows{partition: q.partition, events: got, start: len(got)}
	var failed error
	room := q.room
	last := int64(0)
	err = s.each(query, func(row []sqldriver.Value) bool {
		data, _ := row[3].([]byte)
		first := len(rows.events) == rows.start
		if len(data) > room && !(q.alone && first) {
			full = true
			return false
		}
		room -= len(data)
		position, _ := row[0].(int64)
		if !first && position != q.next(last) {
			failed = fmt.Errorf("partition %d after position %d: %w", q.partition, last, errGap)
			return false
		}
		last = position
		failed = rows.add(row)
		return failed == nil
	}, args...)
	if err == nil {
		err = failed
	}
	if err == nil {
		err = k.complete(s, &rows)
	}
	if err != nil {
		return got, false, err
	}
	return rows.events, full, nil
}

// rows gathers events of a partition as they are read.
type rows struct {
	partition int
	events    []driver.Delivery
	start     int     // of those that were gathered here
	numbers   []int64 // of their kinds
	texts     []byte  // of the positions, which share one string
	ends      []int
}

// add reads a row of position, time of storing, meta and data.
func (r *rows) add(row []sqldriver.Value) error {
	d := driver.Delivery{Partition: r.partition}
	position, _ := row[0].(int64)
	stored, _ := row[1].(int64)
	meta, _ := row[2].(string)
	d.Data, _ = row[3].([]byte)
	d.Stored = nanoTime(stored)
	number, err := parseMeta(meta, &d.Message)
	if err != nil {
		return err
	}
	r.texts = strconv.AppendInt(r.texts, position, 10)
	r.ends = append(r.ends, len(r.texts))
	r.numbers = append(r.numbers, number)
	r.events = append(r.events, d)
	return nil
}

// next returns the position that comes after another in the query's direction.
func (q *logQuery) next(position int64) int64 {
	if q.backward {
		return position - 1
	}
	return position + 1
}

// kinds knows the rows of deed_kind, which are never changed nor removed.
type kinds struct {
	mu       sync.RWMutex
	byNumber map[int64]kind
}

func (k *kinds) get(number int64) (kind, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	found, ok := k.byNumber[number]
	return found, ok
}

// complete fills in what each event's kind says, and its position.
func (k *kinds) complete(s *session, r *rows) error {
	var last kind
	lastNumber := int64(0)
	text, from := string(r.texts), 0
	for i, number := range r.numbers {
		d := &r.events[r.start+i]
		d.Position, from = text[from:r.ends[i]], r.ends[i]
		if number == 0 {
			continue
		}
		if number != lastNumber {
			found, ok := k.get(number)
			if !ok {
				if err := k.load(s); err != nil {
					return err
				}
				if found, ok = k.get(number); !ok {
					return fmt.Errorf("event %s is of kind %d, which deed_kind does not have", d.ID, number)
				}
			}
			last, lastNumber = found, number
		}
		d.Source, d.Type, d.Version, d.ContentType = last.source, last.name, last.version, last.contentType
	}
	return nil
}

func (k *kinds) load(s *session) error {
	all := make(map[int64]kind)
	err := s.each(selectKinds, func(row []sqldriver.Value) bool {
		number, found := scanKind(row)
		all[number] = found
		return true
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.byNumber = all
	k.mu.Unlock()
	return nil
}

// storedAt returns when a position was stored, or the first one after it that is.
func storedAt(st *statements, topic int64, partition int, at int64) (stored int64, err error) {
	query, args := st.dialect.tables().storedAt(topic, partition, at)
	err = st.row(query, args, &stored)
	return stored, err
}

// seek returns the position before the first event stored at or after when, among
// those above removed. Times of storing never go back within a partition, so it
// searches by halves. What goes meanwhile is among the oldest.
func seek(st *statements, topic int64, partition int, removed, end int64, when time.Time) (int64, error) {
	low, high := removed, end // everything up to low is older, everything above high is not
	for low < high {
		middle := low + (high-low+1)/2
		stored, err := storedAt(st, topic, partition, middle)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		if stored < when.UnixNano() {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low, nil
}
