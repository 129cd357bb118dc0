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
	start := len(got)
	query, args := s.dialect.tables().read(&q)
	var numbers []int64
	var failed error
	room := q.room
	var texts []byte // of the positions, which share one string
	var ends []int
	last := int64(0)
	err = s.each(query, func(row []sqldriver.Value) bool {
		d := driver.Delivery{Partition: q.partition}
		d.Data, _ = row[3].([]byte)
		if len(d.Data) > room && !(q.alone && len(got) == start) {
			full = true
			return false
		}
		room -= len(d.Data)
		position, _ := row[0].(int64)
		if len(got) > start && position != q.next(last) {
			failed = fmt.Errorf("partition %d after position %d: %w", q.partition, last, errGap)
			return false
		}
		last = position
		texts = strconv.AppendInt(texts, position, 10)
		ends = append(ends, len(texts))
		stored, _ := row[1].(int64)
		meta, _ := row[2].(string)
		d.Stored = nanoTime(stored)
		number, err := parseMeta(meta, &d.Message)
		if err != nil {
			failed = err
			return false
		}
		numbers = append(numbers, number)
		got = append(got, d)
		return true
	}, args...)
	if err == nil {
		err = failed
	}
	if err == nil {
		err = k.complete(s, got[start:], numbers)
	}
	if err != nil {
		return got[:start], false, err
	}
	text, from := string(texts), 0
	for i, to := range ends {
		got[start+i].Position, from = text[from:to], to
	}
	return got, full, nil
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

// complete fills in what each event's kind says.
func (k *kinds) complete(s *session, got []driver.Delivery, numbers []int64) error {
	var last kind
	lastNumber := int64(0)
	for i, number := range numbers {
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
					return fmt.Errorf("event %s is of kind %d, which deed_kind does not have", got[i].ID, number)
				}
			}
			last, lastNumber = found, number
		}
		m := &got[i].Message
		m.Source, m.Type, m.Version, m.ContentType = last.source, last.name, last.version, last.contentType
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
