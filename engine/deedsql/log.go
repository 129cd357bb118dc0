package deedsql

import (
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/deedgo/deed/driver"
)

// The log is two tables. deed_log has the events in the order of storing and no
// index: appending to the end of a table costs a third of inserting into the end of
// each partition. Where the events of a partition are is in deed_run, which has one
// row for each run of them that a transaction stored. A delayed event is in the log
// from the beginning, and in no run until it is due.

const (
	runEvents   = 1024 // most events of a run
	insertRows  = 50   // of one statement: more bring nothing
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

// run is a row of deed_run.
type run struct {
	place
	position int64 // of the first event
	row      int64 // of the first event, in deed_log
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
	row, err := t.addRow(m, number)
	if err != nil {
		return err
	}
	t.rows.place(at, position, stored, row)
	return t.rows.flushFull(t)
}

// addRow puts an event at the end of the log, where it has no position yet, and returns
// its row.
func (t *tx) addRow(m *driver.Message, number int64) (row int64, err error) {
	if row, err = t.nextRow(); err != nil {
		return 0, err
	}
	b := t.rows
	b.metas = appendMeta(b.metas, m, number)
	b.ends = append(b.ends, len(b.metas))
	b.datas = append(b.datas, m.Data)
	return row, nil
}

// place gives a row of the log a position.
func (b *rowBuffer) place(at place, position, stored, row int64) {
	if last := len(b.runs) - 1; last >= 0 && b.runs[last].continues(at, position, stored, row) {
		b.runs[last].count++
		return
	}
	b.runs = append(b.runs, run{place: at, position: position, row: row, count: 1, stored: stored})
}

// flushFull writes what was gathered if it is much.
func (b *rowBuffer) flushFull(t *tx) error {
	if len(b.datas) < flushEvents && len(b.runs) < flushEvents {
		return nil
	}
	return b.flush(t)
}

// continues reports whether an event belongs to the run.
func (r *run) continues(at place, position, stored, row int64) bool {
	return r.place == at && r.position+r.count == position && r.row+r.count == row && r.stored == stored &&
		r.count < runEvents
}

var insertRuns = newBulk("deed_run (topic_id, partition, position, n, count, stored_at)", "")

// insertLog are the statements for rows of the log, those of many rows first.
var insertLog = func() (all []logInsert) {
	for _, rows := range []int{insertRows, 32, 16, 8, 4, 2, 1} {
		all = append(all, logInsert{
			rows, insert + "deed_log (meta, data) VALUES (?, ?)" + strings.Repeat(", (?, ?)", rows-1),
		})
	}
	return all
}()

type logInsert struct {
	rows  int
	query string
}

// flush writes what was gathered.
func (b *rowBuffer) flush(t *tx) error {
	if err := b.flushRows(t); err != nil {
		return err
	}
	b.args = b.args[:0]
	for _, r := range b.runs {
		b.args = append(b.args, r.topic, int64(r.partition), r.position, r.row, r.count, r.stored)
	}
	if err := insertRuns.exec(t.session, b.args); err != nil {
		return err
	}
	b.reset()
	return nil
}

// flushRows writes the events themselves.
func (b *rowBuffer) flushRows(t *tx) error {
	if len(b.datas) == 0 {
		return nil
	}
	metas := string(b.metas) // one allocation for all
	b.args = b.args[:0]
	start := 0
	for i, end := range b.ends {
		b.args = append(b.args, metas[start:end], b.datas[i])
		start = end
	}
	last := int64(0)
	args := b.args
	for _, stmt := range insertLog {
		for n := 2 * stmt.rows; len(args) >= n; args = args[n:] {
			var err error
			if last, err = t.session.insert(stmt.query, args[:n]...); err != nil {
				return err
			}
		}
	}
	if last != t.known.row {
		return fmt.Errorf("the log's rows end at %d, want %d", last, t.known.row)
	}
	return nil
}

// reset drops what was gathered.
func (b *rowBuffer) reset() {
	clear(b.datas) // they belong to callers
	clear(b.args)
	b.metas, b.ends, b.datas, b.runs, b.args = b.metas[:0], b.ends[:0], b.datas[:0], b.runs[:0], b.args[:0]
}

// nextRow returns the row of the next event. A table's next row follows its last.
func (t *tx) nextRow() (int64, error) {
	if !t.known.rowKnown {
		err := t.row("SELECT coalesce(max(n), 0) FROM deed_log", nil, &t.known.row)
		if err != nil {
			return 0, err
		}
		t.known.rowKnown = true
	}
	t.known.row++
	return t.known.row, nil
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
		number, err = t.session.insert("INSERT INTO deed_kind (source, type, version, content_type) VALUES (?, ?, ?, ?)",
			k.source, k.name, int64(k.version), k.contentType)
		if err != nil {
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
	k.source, _ = row[1].(string)
	k.name, _ = row[2].(string)
	version, _ := row[3].(int64)
	k.version = int(version)
	k.contentType, _ = row[4].(string)
	return number, k
}

// front calls scan for the first events of a partition, with when they were stored
// and their bytes of data, until it returns false. Flush comes before.
func (t *tx) front(at place, scan func(position, stored, bytes int64) bool) error {
	return t.session.each("SELECT r.position + l.n - r.n, r.stored_at, coalesce(length(l.data), 0) FROM deed_run r "+
		"CROSS JOIN deed_log l ON l.n >= r.n AND l.n < r.n + r.count WHERE r.topic_id = ? AND r.partition = ? "+
		"ORDER BY r.position, l.n", func(row []sqldriver.Value) bool {
		position, _ := row[0].(int64)
		stored, _ := row[1].(int64)
		bytes, _ := row[2].(int64)
		return scan(position, stored, bytes)
	}, at.topic, int64(at.partition))
}

// cut removes the first events of a partition, those up to a position. Flush comes
// before.
func (t *tx) cut(at place, upTo int64) error {
	var runs []run
	err := t.session.each("SELECT position, n, count FROM deed_run WHERE topic_id = ? AND partition = ? "+
		"AND position <= ? ORDER BY position", func(row []sqldriver.Value) bool {
		r := run{place: at}
		r.position, _ = row[0].(int64)
		r.row, _ = row[1].(int64)
		r.count, _ = row[2].(int64)
		runs = append(runs, r)
		return true
	}, at.topic, int64(at.partition), upTo)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := t.shorten(r, min(r.count, upTo-r.position+1)); err != nil {
			return err
		}
	}
	return nil
}

// shorten removes the first events of a run, and the run when none is left.
func (t *tx) shorten(r run, events int64) error {
	_, err := t.session.exec("DELETE FROM deed_log WHERE n >= ? AND n < ?", r.row, r.row+events)
	if err != nil {
		return err
	}
	t.known.rowKnown = false // it may have been the table's last
	if events == r.count {
		_, err = t.session.exec("DELETE FROM deed_run WHERE topic_id = ? AND partition = ? AND position = ?",
			r.topic, int64(r.partition), r.position)
		return err
	}
	_, err = t.session.exec("UPDATE deed_run SET position = position + ?, n = n + ?, count = count - ? "+
		"WHERE topic_id = ? AND partition = ? AND position = ?",
		events, events, events, r.topic, int64(r.partition), r.position)
	return err
}

// dropLog removes some events of a topic that was deleted and returns how many.
func (t *tx) dropLog(topic int64, limit int) (removed int64, err error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	for removed < int64(limit) {
		var r run
		err := t.session.each("SELECT partition, position, n, count FROM deed_run WHERE topic_id = ? "+
			"ORDER BY partition, position LIMIT 1", func(row []sqldriver.Value) bool {
			partition, _ := row[0].(int64)
			r.place = place{topic, int(partition)}
			r.position, _ = row[1].(int64)
			r.row, _ = row[2].(int64)
			r.count, _ = row[3].(int64)
			return true
		}, topic)
		if err != nil || r.count == 0 {
			return removed, err
		}
		n := min(r.count, int64(limit)-removed)
		if err := t.shorten(r, n); err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// errGap says that the log does not hold what its partition should.
var errGap = errors.New("a gap in the log (restore the file from a backup)")
